// soketi's tests without those that need Redis, NATS or a second server: their files are named after
// an adapter.
module.exports = {
    transform: { '^.+\\.tsx?$': 'ts-jest' },
    moduleFileExtensions: ['ts', 'tsx', 'js', 'json', 'node'],
    // What soketi's own sources import and its tests do not use.
    moduleNameMapper: { '^(aws-sdk|uWebSockets.js)$': '<rootDir>/none.js' },
    testMatch: ['<rootDir>/tests/*.test.ts'],
    testPathIgnorePatterns: ['-adapter\\.test\\.ts$'],
    testEnvironment: 'node',
    testTimeout: 15 * 1000,
    maxWorkers: 1,
    testRunner: 'jest-circus/runner',
    globals: { 'ts-jest': { isolatedModules: true }, Uint8Array },
};
