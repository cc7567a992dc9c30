// Every statement names a recent checkpoint, so whoever signs one is a witness of what the log held then.
Object.assign(Verifier.prototype, {
  // wanted notes the sizes that statements name, before the walks over the log that show its roots. What is wrong with rows is
  // found where they are checked.
  async wanted() {
    const sizes = new Set();
    try {
      for (const r of (await this.json('rows/index.json')).rows) {
        if (r.kind !== 'ceremony' || !r.file) continue;
        const size = Number(String((await this.json(r.file)).checkpoint || '').split(' ')[0]);
        if (Number.isSafeInteger(size) && size >= 0 && size <= this.head.size) sizes.add(size);
      }
    } catch (e) {
      if (!(e instanceof Fault) && !(e instanceof TypeError)) throw e;
    }
    this.sizes = [...sizes];
  },

  // restsOn holds the checkpoint that somebody signed to the log, where the bundle shows what root it had then.
  restsOn(s, person, row) {
    const bad = detail => { throw new Fault('fork', row.file, 'statement of ' + clip(person) + ': ' + detail); };
    if (s.checkpoint.size > this.head.size) bad('it rests on a log of ' + s.checkpoint.size + ' entries, the checkpoint has ' + this.head.size);
    const root = this.roots.get(s.checkpoint.size);
    if (!root) { this.rests.unknown++; return; }
    if (toBase64(root) !== s.checkpoint.root) bad('the log of ' + s.checkpoint.size + ' entries on which it rests had another root than this one\'s: entries were exchanged since');
    this.rests.shown++;
  },

  sayRests() {
    const {shown, unknown} = this.rests;
    if (shown > 0) this.say('Of the statements that people signed ' + shown + ' name a checkpoint that this log had then: who approved is a witness of what it held.');
    if (unknown > 0) this.say('Of ' + amount(unknown, 'statement') + ' it is NOT shown that the checkpoint named there is one of this log: the bundle does not hold the entries before it.');
  },
});
