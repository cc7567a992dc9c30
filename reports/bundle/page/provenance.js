// Whose key is whose, from the genesis file on. FLOOR has how many people beside the requester approve what is governed, by
// mode; FOUNDING how large a genesis file may be.
const BRINGS = ['custodian.add', 'credential.add', 'credential.recover'];
const bringsKey = operation => BRINGS.includes(operation);

Object.assign(Verifier.prototype, {
  async genesis() {
    const found = await this.rowsOf('instance');
    if (found.length === 0) throw new Fault('missing', 'rows/index.json', 'no row of the instance');
    for (const [row, instance] of found) {
      const file = base64(instance.genesis, 'genesis');
      if (hex(await sha256(file)) !== this.m.instance) throw new Fault('foreign', row.file, 'the SHA-256 of its genesis file is not the instance\'s id');
      if (row.seq !== 0) throw new Fault('foreign', row.file, 'it was written again by entry ' + row.seq + '; what genesis fixed stays as it is');
      this.say('The genesis file in the bundle has the SHA-256 that names the instance.');
      let parsed;
      try {
        if (file.length > FOUNDING) throw new Error('too long');
        parsed = readYaml(text(file));
      } catch (e) { throw new Fault('browser', row.file, 'the genesis file: ' + e.message + '; `conclave verify` reads it'); }
      try { await this.founded(parsed); } catch (e) { throw new Fault('foreign', row.file, e.message); }
      try { await this.begun(instance.genesis_signatures || []); } catch (e) { throw new Fault('provenance', row.file, e.message); }
    }
  },

  // founded reads whose key is which, by the key's thumbprint.
  async founded(file) {
    if (file.mode !== this.m.mode) throw new Error('the genesis file is of ' + clip(file.mode) + ' mode');
    this.founders = new Map();
    const ids = new Set();
    for (const p of file.people || []) {
      const id = await thumbprint(p.approval_key);
      if (!p.id || ids.has(p.id) || this.founders.has(id)) throw new Error('the genesis file names ' + clip(p.id) + ' or their key twice');
      ids.add(p.id);
      this.founders.set(id, {person: p.id, key: p.approval_key});
    }
    if (ids.size === 0) throw new Error('the genesis file names nobody');
  },

  // begun checks the signatures over the genesis file by the keys that the file itself lists.
  async begun(envelopes) {
    if (envelopes.length === 0) {
      this.say('The bundle holds no signatures over the genesis file, only their digests: the instance is older than that they are kept. That everybody named in the file signed it is NOT shown.');
      return;
    }
    const known = this.entries.get(0).detail.signature_sha256 || [], signed = new Set();
    for (const [i, raw] of envelopes.entries()) {
      const bytes = base64(raw, 'signature'), what = 'signature ' + (i + 1) + ' over the genesis file';
      if (!known.includes(hex(await sha256(bytes)))) throw new Error(what + ' is none of those that entry 0 names');
      const e = openEnvelope(JSON.parse(text(bytes))), of = this.founders.get(e.keyid);
      if (!of) throw new Error(what + ': key ' + clip(e.keyid) + ' is nobody\'s in the file');
      if (e.type !== TYPE('genesis') || !await e.check(of.key)) throw new Error(what + ': of ' + clip(of.person) + ': does not verify');
      if (text(e.payload) !== canonical({instance: this.m.instance, mode: this.m.mode, person: of.person})) throw new Error(what + ': of ' + clip(of.person) + ': it is over something else');
      signed.add(of.person);
    }
    const missing = this.founders.size - signed.size;
    if (missing > 0) throw new Error(missing + ' of ' + this.founders.size + ' people whom the genesis file names have not signed it');
    this.say(each(signed.size, 'person') + ' whom the genesis file names has signed it, with the key that it gives them.');
  },

  // noteArrival remembers the control-plane entry that brought a key; the earliest, where several say so.
  noteArrival(e) {
    if (!bringsKey(e.type) || !e.link || e.outcome !== 'done' || e.target.type !== 'person' || !e.detail || !e.detail.credential) return;
    const name = e.target.id + ' ' + e.detail.credential, had = this.arrivals.get(name);
    if (!had || e.seq < had.seq) this.arrivals.set(name, {seq: e.seq, at: BigInt(e.at) * 1000n, operation: e.type, ceremony: e.ceremony || ''});
  },

  noteUse(row, person, key) {
    const name = person + ' ' + key, had = this.uses.get(name);
    if (!had || row.seq < had.seq) this.uses.set(name, row);
  },

  // provenance traces every approval key in the bundle to the genesis file, in the order in which they came, so that none
  // vouches for itself, nor several in a ring.
  async provenance() {
    const traced = new Set(), came = await this.keysThatCame(traced), by = new Set(), founders = traced.size;
    for (const k of came) {
      const what = 'key ' + clip(k.id) + ' of ' + clip(k.person);
      try { await this.vouched(k, traced); } catch (e) { throw new Fault('provenance', k.file, what + ': ' + e.message); }
      const use = this.uses.get(k.name);
      if (use && use.seq <= k.came.seq) throw new Fault('provenance', use.file, what + ' signed it before entry ' + k.came.seq + ', by which it came');
      traced.add(k.name);
      by.add(k.came.ceremony);
    }
    if (came.length === 0) {
      this.say(each(founders, 'approval key') + ' of ' + amount(this.people.size, 'person') + ' stands in the genesis file, for that person.');
      return;
    }
    this.say(each(traced.size, 'approval key') + ' of ' + amount(this.people.size, 'person') + ' is traced to the genesis file: ' + founders + ' stand in it, ' + came.length + ' came by ' + amount(by.size, 'ceremony') +
      ', each approved by at least ' + amount(this.floor(), 'person') + ' beside the requester and whom it was about, with keys that were traced before. Whether they were in the roles that it took, and whether their keys had been revoked by then, is the service\'s word.');
  },

  floor() { return FLOOR[this.m.mode] || FLOOR.production; },

  async keysThatCame(traced) {
    const came = [], owners = new Map();
    await this.each('person', 'provenance', async (p, row) => {
      for (const k of p.approval_keys || []) {
        const what = 'key ' + clip(k.id) + ' of ' + clip(p.id), name = p.id + ' ' + k.id, founder = this.founders.get(k.id);
        if (await thumbprint(k.key) !== k.id) throw new Error(what + ' is not the one of this id');
        if (owners.has(k.id)) throw new Error(what + ' is also ' + clip(owners.get(k.id)) + '\'s');
        owners.set(k.id, p.id);
        if (founder && founder.person === p.id) traced.add(name);
        else came.push({...k, name, person: p.id, file: row.file, came: this.arrivals.get(name) || {seq: 0}});
      }
    });
    return came.sort((a, b) => a.came.seq - b.came.seq);
  },

  // vouched checks that a key came by a ceremony which people whose keys are traced approved.
  async vouched(k, traced) {
    const {seq, at, operation, ceremony} = k.came;
    if (seq === 0) throw new Error('it is not in the genesis file, and no entry of the ledger says how it came');
    if ((k.added_by || '') !== ceremony || nanoseconds(k.added_at) !== at) throw new Error('its row says that it came by "' + clip(k.added_by || '') + '" at ' + clip(k.added_at) + ', entry ' + seq + ' says otherwise');
    const c = this.bringing.get(ceremony);
    if (!c) throw new Error('ceremony ' + clip(ceremony) + ', by which it came, is not in the bundle');
    if (c.operation !== operation || c.state !== 'completed') throw new Error('ceremony ' + clip(c.id) + ' is ' + clip(c.operation) + ', ' + clip(c.state));
    const person = c.operation === 'custodian.add' ? c.params.id : c.params.person;
    if (person !== k.person || !c.params.approval_key || await thumbprint(c.params.approval_key) !== k.id) throw new Error('ceremony ' + clip(c.id) + ' gave another key, or gave it to somebody else');
    if (c.requester.kind !== 'human' || c.requester.id === k.person || !traced.has(c.requester.id + ' ' + c.askedWith)) throw new Error('whoever asked for ceremony ' + clip(c.id) + ' is the person themselves, or has no key that was traced before');
    const voices = new Set((c.approvers || []).filter(p => p !== c.requester.id && p !== k.person && traced.has(p + ' ' + c.approvedWith.get(p))));
    if (voices.size < this.floor()) throw new Error('ceremony ' + clip(c.id) + ' was approved by ' + amount(voices.size, 'person') + ' whose keys were traced before, at least ' + this.floor() + ' beside the requester and the person themselves are needed');
  },
});
