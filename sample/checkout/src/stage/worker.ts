/** A shop on the stage: the shop of `main.ts`, and what shows the audience what it does. Started by `ShopProcess`. */
import 'reflect-metadata';
import { createShop } from '../create-shop.js';
import { tell } from './messages.js';
import { StagedShopModule } from './staged-shop.module.js';

// However the stage ends, its shops leave with it.
process.on('disconnect', () => process.exit());

const app = await createShop(StagedShopModule);
await app.listen(0, '127.0.0.1');
tell({ kind: 'listening', port: (app.getHttpServer().address() as { port: number }).port });
