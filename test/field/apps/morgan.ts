/** https://github.com/expressjs/morgan: a line for each request, a replay's too. */
import morgan from 'morgan';
import { application } from '../harness.js';
import { catsController } from '../support/cats.js';

export default application({
  name: 'morgan',
  build: (field) => ({ controllers: [catsController(field)] }),
  setup: (app, { note }) =>
    app.use(morgan(':method :url :status :res[content-length]', { stream: { write: (line) => note(line.trimEnd()) } })),
  exchanges: [
    { name: 'create', request: { path: '/cats' }, status: 201, notes: ['POST /cats 201 8'] },
    { name: 'taken', request: { path: '/cats/taken' }, status: 409, notes: ['POST /cats/taken 409 55'] },
    { name: 'broken', request: { path: '/cats/broken' }, status: 500, effects: 1, notes: ['POST /cats/broken 500 52'] },
  ],
});
