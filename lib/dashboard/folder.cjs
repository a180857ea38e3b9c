// The folder of this file. CommonJS, because Jest before Node 24.9 has the package compiled to CommonJS, which has no `import.meta`.
module.exports = __dirname;
