exports.page = '<html>fateboard</html>'
