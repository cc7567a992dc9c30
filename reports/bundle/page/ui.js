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

const moment = at => at.slice(0, 19).replace('T', ' ') + ' UTC';

async function check() {
  const file = $('bundle').files[0], trustFile = $('trust').files[0], list = $('checks'), verdict = $('verdict');
  list.replaceChildren();
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
    for (const [name, value] of [['Instance', m.instance], ['Signed by node', m.node], ['Framework', m.framework], ['Period', moment(m.from) + ' to ' + moment(m.to)], ['Ledger', m.size + ' entries'],
      ['Verdicts', Object.entries(v.verdicts).filter(([, n]) => n > 0).map(([k, n]) => n + ' ' + k).join(', ')]]) line(list, 'fact', name + ': ' + value);
    for (const verdict of v.controls) line(list, 'fact', verdict);
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
