// What no policy can go below: classes of operations, and how many people approve. CLASSES, FLOOR, HOLDERS and SKEW are the program's own.

// mayHaveClass says whether an operation may take place as a class; '' in the table stands for operations that it lacks.
const mayHaveClass = (operation, kind) => (Object.hasOwn(CLASSES, operation) ? CLASSES[operation] : CLASSES['']).includes(kind);

// inTime checks that a vote was given while its statement held; SKEW, in seconds, is how far the clocks of two nodes may differ.
function inTime(s, vote) {
  const at = nanoseconds(vote.at);
  if (at + BigInt(SKEW) * 1000000000n < nanoseconds(s.issued_at) || at >= nanoseconds(s.expires_at)) throw new Error('statement of ' + clip(vote.person) + ': it holds from ' + clip(s.issued_at) + ' until ' + clip(s.expires_at) + ', the vote is said to be of ' + clip(vote.at));
}

Object.assign(Verifier.prototype, {
  // approvedEnough holds a ceremony that took place to what is compiled in; what policy asked beyond that is the row's word.
  approvedEnough(c) {
    if (c.state !== 'completed') return;
    if (!mayHaveClass(c.operation, c.class)) throw new Error(clip(c.operation) + ' took place as class "' + clip(c.class || '') + '", which it can not have');
    const attended = c.class === 'S', least = attended ? HOLDERS : c.class === 'G' ? this.floor() : 0;
    const voices = new Set((c.approvers || []).filter(p => attended || p !== c.requester.id));
    if (voices.size < least) throw new Error('it took place with the approval of ' + amount(voices.size, 'person') + ', no policy can ask for fewer than ' + least);
  },

  // quorums names the first ceremony that too few approved, once everybody's keys are traced.
  async quorums() {
    if (this.short) throw this.short;
    this.say('What took place and is governed was approved by at least ' + amount(this.floor(), 'person') + ' beside the requester, what is attended by at least ' + amount(HOLDERS, 'person') + '. What policy asked beyond that is the row\'s word.');
  },

  // askedOnce refuses one signed request under two ceremonies: each has a nonce of its own.
  async askedOnce(request, ceremony) {
    const name = await digest(request), other = this.requests.get(name);
    if (other) throw new Error('request: ceremony ' + clip(other) + ' rests on the same one');
    this.requests.set(name, ceremony);
  },
});
