// The page itself. Text from files goes in by textContent only.
const $ = id => document.getElementById(id);

function line(list, kind, words) {
  const li = document.createElement('li');
  li.className = kind;
  li.textContent = words;
  list.append(li);
}

function readTrust(bytes) {
  try {
    const t = JSON.parse(text(bytes));
    if (!/^[0-9a-f]{64}$/.test(t.instance) || !Array.isArray(t.log_keys) || t.log_keys.length === 0) throw new Error('instance or log_keys are missing');
    return t;
  } catch (e) { throw new Fault('trust', '', e.message); }
}

// shown writes out characters that cannot be seen or turn the direction of text: a title must not read as something else.
const shown = s => String(s ?? '').replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu, c => 'U+' + c.codePointAt(0).toString(16).toUpperCase().padStart(4, '0') + ' ');

function cell(row, tag, words, kind) {
  const td = document.createElement(tag);
  td.textContent = shown(words);
  if (kind) td.className = kind;
  row.append(td);
  return td;
}

// VERDICTS in the order of reading, with the sign that stands beside the word and what each means. What the format does not
// know comes last, by its own name.
const VERDICTS = [['violated', '✕', 'at least one row breaks the rule'], ['no evidence', '?', 'there was nothing to look at'], ['needs a human', '…', 'a person has to answer the question'],
  ['satisfied', '✓', 'every row that was looked at meets the rule'], ['not applicable', '–', 'the matter does not arise here']];

// verdictTable lists the controls of the report, those with the same verdict together, those that ask for something first.
function verdictTable(controls, counts) {
  const known = new Set(VERDICTS.map(([v]) => v)), others = [...new Set(controls.map(c => String(c.verdict)))].filter(v => !known.has(v));
  $('counts').textContent = [...VERDICTS.map(([v]) => v), ...others].filter(v => counts[v] > 0).map(v => counts[v] + ' ' + shown(v)).join(', ') + '; ' + controls.length + ' controls in all.';
  const table = $('controls');
  for (const body of [...table.tBodies]) body.remove();
  for (const [verdict, sign, meaning] of [...VERDICTS, ...others.map(v => [v, '', 'a verdict that this page does not know'])]) {
    const of = controls.filter(c => String(c.verdict) === verdict);
    if (of.length === 0) continue;
    const body = document.createElement('tbody'), kind = known.has(verdict) ? 'v-' + verdict.replaceAll(' ', '-') : 'v-unknown';
    const head = cell(body.appendChild(document.createElement('tr')), 'th', sign + ' ' + verdict + ' (' + of.length + '): ' + meaning, kind);
    head.colSpan = 3;
    head.scope = 'rowgroup';
    for (const c of of) {
      const row = body.appendChild(document.createElement('tr'));
      cell(row, 'td', c.id, 'id');
      cell(row, 'td', c.title);
      const last = cell(row, 'td', (c.conclusion || '') + (c.attested ? ' (on people\'s word)' : ''));
      if (c.why) cell(last, 'div', c.why, 'why');
    }
    table.append(body);
  }
  $('verdicts').hidden = false;
}

const moment = at => at.slice(0, 19).replace('T', ' ') + ' UTC';

async function check() {
  const file = $('bundle').files[0], trustFile = $('trust').files[0], list = $('checks'), verdict = $('verdict');
  list.replaceChildren();
  $('verdicts').hidden = true;
  verdict.className = '';
  verdict.textContent = '';
  if (!file) {
    verdict.textContent = 'Choose the evidence bundle first.';
    return;
  }
  $('go').disabled = true;
  verdict.textContent = 'Checking …';
  try {
    const trust = trustFile ? readTrust(new Uint8Array(await trustFile.arrayBuffer())) : null;
    const v = new Verifier(await new Archive(file).open(), trust, words => line(list, 'ok', words));
    const m = await v.run();
    verdict.className = trust ? 'good' : 'half';
    verdict.textContent = (trust ? 'Genuine: everything holds against the trust file' : 'Self-consistent, unanchored: without a trust file nothing says whose bundle this is') +
      (m.mode === 'production' ? '.' : '; DEVELOPMENT instance.');
    for (const [name, value] of [['Instance', m.instance], ['Signed by node', m.node], ['Framework', m.framework], ['Period', moment(m.from) + ' to ' + moment(m.to)], ['Ledger', m.size + ' entries']]) line(list, 'fact', name + ': ' + value);
    verdictTable(v.controls, v.verdicts);
  } catch (e) {
    verdict.className = 'bad';
    verdict.dataset.kind = e.kind || 'format';
    verdict.textContent = 'REFUSED. The first thing wrong: ' + (e instanceof Fault ? e.message : 'the bundle cannot be read: ' + e.message);
    if (list.children.length > 0) line(list, 'fact', 'The checks above held. None was made after the one that failed, and they do not make the bundle any better.');
  }
  $('go').disabled = false;
}

$('go').addEventListener('click', check);
if (!globalThis.crypto || !crypto.subtle) $('verdict').textContent = 'This browser gives a page opened from a file no cryptography. Use a current Chromium, Firefox or Safari.';
