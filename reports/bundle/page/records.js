// What people sign outside ceremonies' statements: records of ceremonies held by a script, acceptances of duty, the custody
// log. FORMS has the SHA-256 of each version of the form that is known here.
const DAY = 86400n * 1000000000n;
// TERMS and LISTS are the members that an acknowledgement may have, texts and lists of them.
const TERMS = ['instance', 'person', 'name', 'staff_number', 'form_version', 'form_sha256', 'conflicts', 'backup', 'trained_on', 'effective_at', 'expires_at'];
const LISTS = ['roles', 'share_sets'];
const TYPE = name => 'application/vnd.conclave.' + name + '+json';

Object.assign(Verifier.prototype, {
  // each walks the rows of a kind. What fn finds wrong is a fault of the row's file, of the kind given.
  async each(kind, wrong, fn) {
    for (const [row, body] of await this.rowsOf(kind)) {
      try { await fn(body, row); } catch (e) {
        if (e instanceof Fault) throw e;
        throw new Fault(wrong, row.file, e.message);
      }
    }
  },

  async signOffs() {
    let runs = 0, signatures = 0;
    await this.each('script_run', 'transcript', async (r, row) => {
      if (r.ceremony !== row.id.split('/')[0]) throw new Error('it is the record of ceremony ' + clip(r.ceremony));
      if (await digest(r.script) !== r.script_sha256) throw new Error('its script has another SHA-256 than it says');
      const record = await digest(recordOf(r)), signed = new Set();
      for (const s of r.sign_offs || []) {
        const on = r.roll.some(l => l.person === s.person && l.role === s.role && l.role !== 'observer');
        if (!on || signed.has(s.person)) throw new Error(clip(s.person) + ' signed it, and did not take part as ' + clip(s.role) + ', or signed twice');
        signed.add(s.person);
        const {payload} = await this.payloadBy(s.envelope, TYPE('sign-off'), s.person);
        const want = {instance: this.m.instance, ceremony: r.ceremony, record_sha256: record, signer: s.person, role: s.role, statement: s.statement};
        if (text(payload) !== canonical(want)) throw new Error('sign-off of ' + clip(s.person) + ': it is about something else, or about another record');
        signatures++;
      }
      for (const l of r.roll) if (r.state === 'signed' && l.role !== 'observer' && !signed.has(l.person)) throw new Error('it counts as signed, and ' + clip(l.person) + ', who took part, has not signed');
      runs++;
    });
    if (runs > 0) this.say(each(signatures, 'signature') + ' over the records of ' + amount(runs, 'ceremony') + ' held by a script is by a key of the person named, in their role on its roll, over exactly what the record says of steps and outcomes; where it counts as signed, all who took part have signed.');
  },

  async acknowledgements() {
    await this.each('person', 'acknowledgement', async (p, row) => {
      if (p.id !== row.id) throw new Error('it is not ' + clip(row.id) + '\'s');
      const a = p.acknowledgement;
      if (!a) return;
      const t = await this.acknowledged(a.envelope, p.id);
      if (t.form_version !== a.form_version) throw new Error('version ' + clip(t.form_version) + ' of the form is signed, the row says ' + clip(a.form_version));
      const from = nanoseconds(t.effective_at), until = nanoseconds(t.expires_at), at = nanoseconds(a.signed_at);
      if (until !== nanoseconds(a.expires_at)) throw new Error('until ' + clip(t.expires_at) + ' is signed, the row says ' + clip(a.expires_at));
      if (from > at || until <= at || until - from > 365n * DAY) throw new Error('it is signed for another time than the row says, or for more than a year');
    });
    if (this.duties.size > 0) this.say(each(this.duties.size, 'acknowledgement') + ' of duty is signed by a key of the person, over the form and the end that the row says.');
    if (this.unbound > 0) this.say(this.unbound + ' of them, signed before acknowledgements did so, ' + (this.unbound === 1 ? 'names' : 'name') + ' no instance: that it was this one is NOT shown.');
    if (this.otherForms > 0) this.say(this.otherForms + ' of them ' + (this.otherForms === 1 ? 'is' : 'are') + ' over a version of the form that this page does not know: what its text says is NOT shown.');
  },

  async acknowledged(envelope, person) {
    const t = await this.signedBy(envelope, TYPE('acknowledgement'), person);
    for (const [m, v] of Object.entries(t)) {
      const fits = LISTS.includes(m) ? Array.isArray(v) && v.every(x => typeof x === 'string') : TERMS.includes(m) && typeof v === 'string';
      if (!fits && !(v === null && (LISTS.includes(m) || TERMS.includes(m)))) throw new Error('it has a member that no acknowledgement has, or not so: ' + clip(m));
    }
    const named = (t.instance ?? '') !== '';
    if (named && t.instance !== this.m.instance) throw new Error('it is of instance ' + clip(t.instance));
    if (t.person !== person) throw new Error('it is of ' + clip(t.person) + ', signed by ' + clip(person));
    if (Object.hasOwn(FORMS, t.form_version) && FORMS[t.form_version] !== t.form_sha256) throw new Error('another text is signed than that of the form');
    const said = canonical(t);
    if (!this.duties.has(said) && !Object.hasOwn(FORMS, t.form_version)) this.otherForms++;
    if (!this.duties.has(said) && !named) this.unbound++;
    this.duties.add(said); // the person's row and the ceremony hold the same
    return t;
  },

  // handedIn checks what somebody signed and a ceremony took in.
  async handedIn(c, row) {
    try {
      if (c.operation === 'acknowledgement.sign') await this.acknowledged(c.params.envelope, asker(c));
      if (c.operation === 'share.destroyed') {
        const claim = JSON.parse(text(openEnvelope(c.params.envelope).payload));
        await this.payloadBy(c.params.envelope, TYPE('destruction'), claim.person);
        if (claim.instance !== this.m.instance || claim.witness !== c.requester.id || claim.witness === claim.person) throw new Error('it is of another instance or witness');
      }
    } catch (e) {
      if (e instanceof Fault) throw e;
      throw new Fault(c.operation === 'acknowledgement.sign' ? 'acknowledgement' : 'transcript', row.file, e.message);
    }
  },

  async custodyLog() {
    let lines = 0, countersigned = 0;
    await this.each('custody', 'custody', async (e, row) => {
      if (await digest(e.facts) !== e.digest || e.id !== row.id) throw new Error('what it says has another digest than it names, or it is another line');
      this.recorded(e);
      if (this.countersigned(e)) countersigned++;
      lines++;
    });
    if (lines > 0) this.say(each(lines, 'line') + ' of the custody log is signed by who did it, and ' + countersigned + ' that count or are disputed by a second person, over exactly what the line says.');
  },

  custodyCeremony(id, operation, signer) {
    const c = this.custody.get(id);
    if (!c) throw new Error('ceremony ' + clip(id) + ', which holds a signature under it, is not in the bundle');
    if (c.operation !== operation || c.state !== 'completed') throw new Error('ceremony ' + clip(id) + ' is ' + clip(c.operation) + ', ' + clip(c.state));
    if (c.requester.kind !== 'human' || (signer && c.requester.id !== signer)) throw new Error('ceremony ' + clip(id) + ' is ' + clip(c.requester.id) + '\'s, the line says ' + clip(signer));
    if (!c.exact) throw new Error('the signed request of ceremony ' + clip(id) + ' is not over what its row says was asked for');
    return c;
  },

  recorded(e) {
    const f = e.facts, p = this.custodyCeremony(e.recorded, 'custody.record', f.who).params;
    const equal = {form: f.form, action: f.action, witness: f.witness, purpose: f.purpose, ceremony: f.ceremony, serial: f.read_serial, new_serial: f.new_serial,
      seal: f.seal, site: f.site, container: f.container};
    let ok = Object.entries(equal).every(([name, says]) => (p[name] || '') === (says || ''));
    ok = ok && ['kind', 'set', 'epoch', 'index'].every(name => !p[name] || p[name] === f[name]);
    ok = ok && ((p.carrier || '') === (f.carrier || '') || (!p.carrier && f.carrier === f.who));
    const second = 1000000000n;
    if (!ok || (p.at && nanoseconds(p.at) / second * second !== nanoseconds(f.at))) throw new Error(clip(f.who) + ' signed something else than the line says');
  },

  countersigned(e) {
    const signed = e.state === 'effective' || e.state === 'disputed';
    if (signed !== Boolean(e.signed)) throw new Error('it is ' + clip(e.state) + ', and its second signature is "' + clip(e.signed || '') + '"');
    if (!signed) return false;
    const witness = this.people.get(e.facts.witness), left = !witness || witness.status === 'left'; // somebody else signs in their place
    const c = this.custodyCeremony(e.signed, 'custody.countersign', left ? '' : e.facts.witness), p = c.params;
    if (c.requester.id === e.facts.who || p.entry !== e.id || p.digest !== e.digest || p.agree !== (e.state === 'effective') || (p.remark || '') !== (e.remark || '')) throw new Error(clip(c.requester.id) + ' signed something else than the line says');
    return true;
  },
});

// recordOf is what is signed off: the run without its signatures, its end, and what people do to it later.
function recordOf(run) {
  const without = (o, ...names) => Object.fromEntries(Object.entries(o).filter(([k]) => !names.includes(k)));
  const r = {...without(run, 'sign_offs', 'ended_at', 'end_reason', 'abandoned_by'), state: ''};
  if (r.roll) r.roll = r.roll.map(l => without(l, 'left_at'));
  if (r.deviations) r.deviations = r.deviations.map(d => without(d, 'closed_at', 'closed_by', 'finding'));
  return r;
}
