// In place of packages that the tests do not use.
module.exports = { Lambda: class {} };
