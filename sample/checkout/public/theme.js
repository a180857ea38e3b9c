import { byId } from './dom.js';

const STORED = 'theme';

/** The system's theme, until somebody chooses. */
export function setUpTheme() {
  const system = matchMedia('(prefers-color-scheme: dark)');
  const button = byId('theme');
  const chosen = () => localStorage.getItem(STORED);
  const isDark = () => (chosen() ?? (system.matches ? 'dark' : 'light')) === 'dark';
  const apply = () => {
    if (chosen()) document.documentElement.dataset.theme = chosen();
    button.setAttribute('aria-pressed', String(isDark()));
  };
  button.addEventListener('click', () => {
    localStorage.setItem(STORED, isDark() ? 'light' : 'dark');
    apply();
  });
  system.addEventListener('change', apply);
  apply();
}
