import { HttpException } from '@nestjs/common';

export class CardDeclinedException extends HttpException {
  constructor() {
    super(
      {
        statusCode: 402,
        message: 'The card was declined',
        error: 'Payment Required',
      },
      402,
    );
  }
}
