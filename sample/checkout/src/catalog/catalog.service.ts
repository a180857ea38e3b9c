import { ConflictException, Injectable, type OnModuleInit, UnprocessableEntityException } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import type { EntityManager } from 'typeorm';
import { Repository } from 'typeorm';
import { Product } from './product.entity.js';

/** What a new shop has on its shelves. */
export const ASSORTMENT: Product[] = [
  { sku: 'MUG', name: 'Mug', price: 1250, stock: 100_000 },
  { sku: 'TEAPOT', name: 'Teapot', price: 3900, stock: 100_000 },
  { sku: 'SAMOVAR', name: 'Samovar, the last one', price: 48_000, stock: 1 },
];

@Injectable()
export class CatalogService implements OnModuleInit {
  constructor(@InjectRepository(Product) private readonly products: Repository<Product>) {}

  /** Puts the assortment on the shelves of a new shop, and leaves those of an old one as they are. */
  async onModuleInit(): Promise<void> {
    await this.products.createQueryBuilder().insert().values(ASSORTMENT).orIgnore().execute();
  }

  list(): Promise<Product[]> {
    return this.products.find({ order: { sku: 'ASC' } });
  }

  /** Takes pieces off the shelf, in the caller's transaction, and returns the product. */
  async take(manager: EntityManager, sku: string, quantity: number): Promise<Product> {
    // Written before anything is read: SQLite refuses to write upon what another process has changed since it was read.
    const { affected } = await manager
      .createQueryBuilder()
      .update(Product)
      .set({ stock: () => 'stock - :quantity' })
      .where('sku = :sku AND stock >= :quantity', { sku, quantity })
      .execute();
    const product = await manager.findOneBy(Product, { sku });
    if (!product) {
      throw new UnprocessableEntityException(`There is no product ${sku}`);
    }
    if (!affected) {
      throw new ConflictException(`${product.name} is out of stock`);
    }
    return product;
  }

  /** Puts pieces back, in the caller's transaction. */
  async putBack(manager: EntityManager, sku: string, quantity: number): Promise<void> {
    await manager.increment(Product, { sku }, 'stock', quantity);
  }
}
