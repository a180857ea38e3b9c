import type { Command } from '../command.js';
import { init } from '../init/index.js';
import { doctor } from './doctor.js';
import { forget } from './forget.js';
import { list } from './list.js';
import { migrations } from './migrations.js';
import { purge } from './purge.js';
import { resolve } from './resolve.js';
import { show } from './show.js';
import { stats } from './stats.js';

export const COMMANDS: readonly Command[] = [list, show, resolve, forget, purge, stats, migrations, doctor, init];
