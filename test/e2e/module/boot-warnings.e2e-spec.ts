import { createDatabase, type TestDatabase } from '../../support/database.js';
import { AppProcess } from '../../support/app-process.js';
import { until } from '../../support/until.js';

const SIGTERM = 'SIGTERM ends this process in the middle of operations';
const RETENTION = 'A retention below two minutes (numbers are milliseconds)';

describe('at boot, in production', () => {
  let database: TestDatabase;
  let apps: AppProcess[] = [];

  beforeAll(async () => {
    database = await createDatabase('better-sqlite3');
  });
  afterAll(async () => {
    await Promise.all(apps.map((app) => app.stop()));
    await database?.drop();
  });

  test('a process that SIGTERM would kill, and a retention in seconds, are logged', async () => {
    const start = (env: Record<string, string>) =>
      AppProcess.start('protocol-app', {
        DATABASE: JSON.stringify(database.options),
        OPTIONS: JSON.stringify({ audit: 'warn', retention: 86_400 }),
        NODE_ENV: 'production',
        LOG: undefined,
        ...env,
      });
    const hooked = await start({ SHUTDOWN_HOOKS: 'on' });
    const bare = await start({ SYNCHRONIZE: 'off' });
    apps = [hooked, bare];
    await until(() => bare.output.includes(SIGTERM));
    expect(bare.output).toContain('call app.enableShutdownHooks()');
    expect(bare.output).toContain(RETENTION);
    // It booted earlier, so that it has looked by now.
    expect(hooked.output).toContain(RETENTION);
    expect(hooked.output).not.toContain(SIGTERM);
  });

  test('telemetry that ends the process at SIGTERM, beside the hooks of Nest, is logged', async () => {
    const listener = "process.on('SIGTERM', () => sdk.shutdown().finally(() => process.exit(0)))";
    const preloaded = encodeURIComponent(`const sdk = { shutdown: async () => {} }; ${listener}`);
    const app = await AppProcess.start('protocol-app', {
      DATABASE: JSON.stringify(database.options),
      OPTIONS: JSON.stringify({ audit: 'warn' }),
      NODE_ENV: 'production',
      NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --import=data:text/javascript,${preloaded}`,
      LOG: undefined,
      SHUTDOWN_HOOKS: 'on',
      SYNCHRONIZE: 'off',
    });
    apps.push(app);
    await until(() => app.output.includes(SIGTERM));
    expect(app.output).toContain('shut telemetry down in onApplicationShutdown()');
  });
});
