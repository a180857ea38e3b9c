import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { AppModule } from './app.module.js';
import { config } from './config.js';
import { createShop } from './create-shop.js';

const app = await createShop(AppModule);
await app.listen(config.port);

const protection = config.protection ? 'on' : 'OFF';
new Logger('Shop').log(`open on http://localhost:${config.port}, protection ${protection}`);
