// Writes dist/index.html with what another workspace says. Upstream's runs webpack.
const fs = require('fs')
fs.mkdirSync('dist', { recursive: true })
fs.writeFileSync('dist/index.html', require('fate-tools').page)
