/** Takes the place of `@jest/globals`, which exists within jest only. */
import { jestExpect } from '@jest/expect';
import { ModuleMocker } from 'jest-mock';

export const jest = new ModuleMocker(globalThis);
export const expect = jestExpect;
