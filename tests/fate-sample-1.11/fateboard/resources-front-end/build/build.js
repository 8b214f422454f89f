// Writes dist/index.html: index.html with the version of package.json. Upstream's runs webpack.
const fs = require('fs')
const path = require('path')

const root = path.join(__dirname, '..')
const { version } = require('../package.json')
const page = fs.readFileSync(path.join(root, 'index.html'), 'utf8')
fs.mkdirSync(path.join(root, 'dist'), { recursive: true })
fs.writeFileSync(path.join(root, 'dist', 'index.html'), page.replace('VERSION', version))
