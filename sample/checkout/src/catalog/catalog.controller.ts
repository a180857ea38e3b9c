import { Controller, Get } from '@nestjs/common';
import { CatalogService } from './catalog.service.js';
import type { Product } from './product.entity.js';

@Controller('products')
export class CatalogController {
  constructor(private readonly catalog: CatalogService) {}

  @Get()
  list(): Promise<Product[]> {
    return this.catalog.list();
  }
}
