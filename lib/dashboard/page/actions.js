/** The dialog that asks before anything is changed, and shows the result of each record afterwards. */
import { changeRecord, changeRecords, RequestError } from './api.js';
import { announce, byId, h } from './dom.js';
import { plural, relativeTime, shortId } from './format.js';
import { ACTIONS, stateOf } from './words.js';

/** How many of the selected records the dialog lists. */
const MAX_NAMED = 4;
/** The server's limit. */
const MAX_REASON_LENGTH = 500;

/**
 * Asks for a reason, changes the records, and shows the results.
 *
 * @param {keyof typeof ACTIONS} action
 * @param {any[]} records summaries, or one detail
 * @returns {Promise<boolean>} whether anything was changed
 */
export function openDialog(action, records) {
  const dialog = byId('dialog');
  let isChanged = false;
  dialog.replaceChildren(askingForm());
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener('close', () => resolve(isChanged), { once: true }));

  function askingForm() {
    const { verb, when, does, risky, onlyHeld } = ACTIONS[action];
    const problem = h('p.problem', { role: 'alert', id: 'dialog-problem' });
    const fields = action === 'resolve' ? outcomeFields(records) : null;
    const isMixed = fields !== null && new Set(records.map(({ resolvesWith }) => resolvesWith)).size > 1;
    const running = records.filter(({ status, abandoned }) => status === 'processing' && !abandoned);
    const notHeld = onlyHeld ? records.filter(({ status }) => status !== 'held') : [];
    const evenIfRunning = h('input', { type: 'checkbox', name: 'evenIfRunning' });
    const reason = h('textarea', {
      id: 'reason',
      name: 'reason',
      rows: 2,
      maxlength: MAX_REASON_LENGTH,
      required: true,
      autofocus: fields === null,
      'aria-describedby': 'reason-hint',
    });
    const submit = h(
      risky ? 'button.danger' : 'button.primary',
      { type: 'submit', disabled: isMixed },
      records.length === 1 ? verb : `${verb} ${plural(records.length, 'record')}`,
    );
    const form = h(
      'form',
      { novalidate: true },
      h('p.when', null, when),
      h(
        'h2',
        { id: 'dialog-title' },
        `${verb} ${records.length === 1 ? 'this record' : plural(records.length, 'record')}?`,
      ),
      h(risky ? 'p.does.risk' : 'p.does', { id: 'dialog-does' }, does),
      named(records),
      notHeld.length > 0 &&
        h('p.warning', null, `${plural(notHeld.length, 'of them is', 'of them are')} not held, and will be refused.`),
      fields && records.length > 1 && h('p.warning', null, 'All of them get the same outcome.'),
      isMixed &&
        h(
          'p.warning',
          null,
          'Some of them answer over HTTP, and some with a value: no outcome fits both. Select one kind.',
        ),
      fields?.element,
      action === 'forget' &&
        running.length > 0 &&
        h(
          'label.check',
          null,
          evenIfRunning,
          h('span', null, 'Even if it is running: a retry then runs beside it, and both take effect'),
        ),
      h(
        'div.field',
        null,
        h('label', { for: 'reason' }, 'Reason'),
        reason,
        h('p.hint', { id: 'reason-hint' }, 'Required. It is logged with your name, if your application knows it.'),
      ),
      problem,
      h('div.buttons', null, h('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel'), submit),
    );
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      void send();
    });
    return form;

    async function send() {
      const wrong =
        fields?.check() ?? (reason.value.trim() === '' ? { element: reason, text: 'Give a reason.' } : null);
      if (wrong) return fail(wrong.element, wrong.text);
      submit.disabled = true;
      const change = {
        reason: reason.value.trim(),
        ...(fields && { outcome: fields.outcome() }),
        ...(evenIfRunning.checked && { evenIfRunning: true }),
      };
      try {
        await (records.length === 1 ? changeOne(change) : changeMany(change));
      } catch (error) {
        fail(submit, error instanceof RequestError ? error.message : String(error));
      } finally {
        submit.disabled = false;
      }
    }

    function fail(element, text) {
      for (const other of form.querySelectorAll('[aria-invalid]')) other.removeAttribute('aria-invalid');
      if (element !== submit) element.setAttribute('aria-invalid', 'true');
      problem.textContent = text;
      element.disabled = false;
      element.focus();
    }
  }

  async function changeOne(change) {
    await changeRecord(records[0].id, action, { ...change, token: records[0].token });
    isChanged = true;
    dialog.close();
    announce(`${ACTIONS[action].past}. ${ACTIONS[action].after}`);
  }

  async function changeMany(change) {
    const { done, results } = await changeRecords({
      action,
      ids: records.map(({ id }) => id),
      tokens: Object.fromEntries(records.map(({ id, token }) => [id, token])),
      ...change,
    });
    isChanged = true;
    dialog.replaceChildren(resultsView(done, results));
    dialog.querySelector('h2').focus();
  }

  function resultsView(done, results) {
    const failed = results.length - done;
    const { past, after } = ACTIONS[action];
    const operationOf = (id) => records.find((record) => record.id === id)?.operation ?? '';
    const title = failed === 0 ? `${past} all ${done}` : `${past} ${done} of ${results.length}`;
    // Refused ones first, because the operator has to look at these.
    const sorted = results.toSorted((a, b) => Number(a.ok) - Number(b.ok));
    return h(
      'div',
      null,
      h('h2', { id: 'dialog-title', tabindex: '-1' }, title),
      h('p.does', { id: 'dialog-does' }, done > 0 ? after : 'Nothing was changed.'),
      h(
        'ul.results',
        { tabindex: '0', 'aria-label': 'Results' },
        ...sorted.map(({ id, ok, error }) =>
          h(
            'li',
            { data: { ok: String(ok) } },
            h('b', null, ok ? past : 'Refused'),
            h('span', null, operationOf(id), ' ', h('code', { title: id }, shortId(id))),
            !ok && h('small', null, error.message),
          ),
        ),
      ),
      h('div.buttons', null, h('button.primary', { type: 'button', onclick: () => dialog.close() }, 'Close')),
    );
  }
}

function named(records) {
  const rest = records.length - MAX_NAMED;
  return h(
    'ul.named',
    null,
    ...records
      .slice(0, rest === 1 ? MAX_NAMED + 1 : MAX_NAMED)
      .map((record) =>
        h(
          'li',
          null,
          h('span.badge', { data: { state: stateOf(record).state } }, stateOf(record).label),
          h('span', null, record.operation),
          h('code', { title: record.id }, shortId(record.id)),
          relativeTime(record.createdAt),
        ),
      ),
    rest > 1 && h('li', null, `and ${rest} more`),
  );
}

/** Fields for the outcome of a held operation: an HTTP response, or the value of `IdempotencyService.run()`. */
function outcomeFields(records) {
  const isValue = records[0].resolvesWith === 'value';
  const status = h('input', {
    id: 'outcome-status',
    type: 'number',
    min: 200,
    max: 599,
    value: 201,
    required: true,
    autofocus: true,
  });
  const location = h('input', {
    id: 'outcome-location',
    autocomplete: 'off',
    spellcheck: 'false',
    placeholder: '/payments/81',
  });
  const body = h('textarea', {
    id: 'outcome-body',
    autofocus: isValue,
    rows: 4,
    spellcheck: 'false',
    placeholder: '{ "id": "pay_81", "status": "paid" }',
    'aria-describedby': 'outcome-hint',
  });
  const hint = h('p.hint', { id: 'outcome-hint' });
  const httpFields = h(
    'div.pair',
    null,
    field('outcome-status', 'Status', status),
    field('outcome-location', 'Location header', location),
  );
  const element = h(
    'fieldset',
    null,
    h('legend', null, 'Response for the client'),
    !isValue && httpFields,
    field('outcome-body', 'Body', body),
    hint,
  );
  hint.textContent = isValue
    ? 'JSON, as the handler would have returned it.'
    : 'Exactly what the client gets. JSON is sent as application/json, anything else as text.';
  return { element, check, outcome };

  function check() {
    const looksLikeJson = /^\s*[[{]/.test(body.value);
    if (isValue || looksLikeJson) {
      try {
        JSON.parse(body.value);
      } catch (error) {
        return { element: body, text: `The body is no JSON: ${error.message}` };
      }
    }
    const code = Number(status.value);
    if (!isValue && !(Number.isInteger(code) && code >= 200 && code <= 599)) {
      return { element: status, text: 'The status is a number from 200 to 599.' };
    }
    return null;
  }

  function outcome() {
    if (isValue) return { value: JSON.parse(body.value) };
    const headers = location.value.trim() === '' ? {} : { Location: location.value.trim() };
    return { status: Number(status.value), headers, ...(body.value !== '' && { body: body.value }) };
  }
}

const field = (id, label, control) => h('div.field', null, h('label', { for: id }, label), control);
