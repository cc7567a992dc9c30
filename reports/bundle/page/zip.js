// A zip archive within the bounds of a bundle: names, sizes and counts are checked before anything is unpacked. It is read
// from the file piece by piece, and nothing of it is kept, but for a small one, which is held whole: each piece read from a
// file asks the browser's own process.
const LIMITS = {archive: 2 ** 30, files: 200000, file: 256 * 2 ** 20, unpacked: 2 * 2 ** 30, name: 512};
const HELD = 16 * 2 ** 20;
const DIRECTORY_END = 22, END64_LOCATOR = 20, END64 = 56, LOCAL = 30, DESCRIPTOR = 16;
const EXTRA = 32; // bytes of a file's header beside its name: a time takes 9
const hidden = what => { throw new Fault('format', '', 'something is hidden in it: ' + what); };

class Archive {
  constructor(blob) {
    if (blob.size > LIMITS.archive) throw new Fault('large', '', blob.size + ' bytes');
    this.blob = blob;
    this.entries = new Map();
  }

  async open() {
    try {
      if (this.blob.size <= HELD) this.held = await this.blob.arrayBuffer();
      await this.directory();
    } catch (e) {
      if (e instanceof Fault) throw e;
      throw new Fault('format', '', 'the archive is cut or damaged');
    }
    return this;
  }

  async bytes(from, to) {
    if (!(from >= 0 && from <= to && to <= this.blob.size)) throw new Error('cut');
    return new Uint8Array(this.held ? this.held.slice(from, to) : await this.blob.slice(from, to).arrayBuffer());
  }

  async view(from, to) { return new DataView((await this.bytes(from, to)).buffer); }

  // end finds where the list of files is: in the last bytes, as a bundle bears no comment.
  async end() {
    const size = this.blob.size, bad = () => { throw new Fault('format', '', 'no zip archive, or its end is missing'); };
    if (size < DIRECTORY_END) bad();
    const v = await this.view(size - DIRECTORY_END, size);
    if (v.getUint32(0, true) !== 0x06054b50 || v.getUint16(20, true) !== 0) bad();
    const at = {count: v.getUint16(10, true), size: v.getUint32(12, true), from: v.getUint32(16, true)};
    if (at.count !== 0xffff && at.size !== 0xffffffff && at.from !== 0xffffffff) return {...at, tail: DIRECTORY_END};
    const l = await this.view(size - DIRECTORY_END - END64_LOCATOR, size - DIRECTORY_END);
    if (l.getUint32(0, true) !== 0x07064b50) bad();
    const start = Number(l.getBigUint64(8, true)), w = await this.view(start, start + END64);
    if (w.getUint32(0, true) !== 0x06064b50) bad();
    return {count: Number(w.getBigUint64(32, true)), size: Number(w.getBigUint64(40, true)), from: Number(w.getBigUint64(48, true)), tail: DIRECTORY_END + END64_LOCATOR + END64};
  }

  async directory() {
    const end = await this.end();
    if (end.count > LIMITS.files) throw new Fault('large', '', end.count + ' files');
    const list = await this.bytes(end.from, end.from + end.size), v = new DataView(list.buffer);
    let at = 0, total = 0;
    for (let i = 0; i < end.count; i++) {
      if (v.getUint32(at, true) !== 0x02014b50) throw new Fault('format', '', 'its list of files is damaged');
      const nameLength = v.getUint16(at + 28, true);
      const name = text(list.subarray(at + 46, at + 46 + nameLength));
      const e = {method: v.getUint16(at + 10, true), packed: v.getUint32(at + 20, true), size: v.getUint32(at + 24, true), local: v.getUint32(at + 42, true),
        flags: v.getUint16(at + 8, true), name: list.subarray(at + 46, at + 46 + nameLength), extra: list.subarray(at + 46 + nameLength, at + 46 + nameLength + v.getUint16(at + 30, true)), crc: v.getUint32(at + 16, true)};
      if (e.extra.length > EXTRA || v.getUint16(at + 32, true) !== 0) hidden('a header with more than a file takes');
      if (!plainName(name)) throw new Fault('extra', clip(name), 'its name is not a plain relative path');
      if (this.entries.has(name)) throw new Fault('extra', name, 'its name occurs twice');
      total += e.size;
      if (e.size > LIMITS.file || total > LIMITS.unpacked) throw new Fault('large', name, e.size + ' bytes unpacked');
      this.entries.set(name, e);
      at += 46 + nameLength + v.getUint16(at + 30, true) + v.getUint16(at + 32, true);
    }
    if (at !== list.length) throw new Fault('format', '', 'its list of files is damaged');
    this.seamless(end);
  }

  // seamless refuses an archive that holds anything but its files, one behind the other: what stands between them another reader
  // could find and show. That each header says what this list says is seen when the file is read, as every file is.
  seamless(end) {
    let at = 0;
    for (const e of [...this.entries.values()].sort((a, b) => a.local - b.local)) {
      if (e.local !== at) hidden('a file is not where the one before it ends, or its header is another than the directory\'s');
      e.data = at + LOCAL + e.name.length + e.extra.length;
      at = e.data + e.packed + ((e.flags & 8) !== 0 ? DESCRIPTOR : 0);
    }
    if (at !== end.from || end.from + end.size + end.tail !== this.blob.size) hidden('it has ' + this.blob.size + ' bytes, its files and their directory take ' + (at + end.size + end.tail));
  }

  has(name) { return this.entries.has(name); }
  names() { return [...this.entries.keys()].sort(); }

  async read(name) {
    const e = this.entries.get(name);
    if (!e) throw new Fault('missing', name);
    let data;
    try {
      const from = e.data, head = await this.bytes(e.local, from), v = new DataView(head.buffer);
      if (v.getUint32(0, true) !== 0x04034b50 || v.getUint16(6, true) !== e.flags || v.getUint16(26, true) !== e.name.length || v.getUint16(28, true) !== e.extra.length ||
        !same(head.subarray(LOCAL), concat(e.name, e.extra))) hidden('a file is not where the one before it ends, or its header is another than the directory\'s');
      if ((e.flags & 8) !== 0) {
        const d = await this.view(from + e.packed, from + e.packed + DESCRIPTOR);
        if (d.getUint32(0, true) !== 0x08074b50 || d.getUint32(4, true) !== e.crc || d.getUint32(8, true) !== e.packed || d.getUint32(12, true) !== e.size) hidden('what follows a file\'s data is not its sizes');
      }
      const packed = await this.bytes(from, from + e.packed);
      data = e.method === 0 ? packed : await inflate(packed, e.size);
    } catch (err) {
      if (err instanceof Fault) throw err;
      throw new Fault('altered', name, 'it cannot be unpacked');
    }
    if (data.length !== e.size) throw new Fault('altered', name, 'its size is not the one that the archive states');
    return data;
  }
}

function plainName(name) {
  return name.length <= LIMITS.name && name !== '' && !/[\\\0\r\n]/.test(name) &&
    name.split('/').every(part => part !== '' && part !== '.' && part !== '..');
}

// inflate unpacks no more than size bytes and one.
async function inflate(packed, size) {
  const reader = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate-raw')).getReader();
  const parts = [];
  let got = 0;
  for (;;) {
    const {done, value} = await reader.read();
    if (done) break;
    parts.push(value);
    if ((got += value.length) > size) { await reader.cancel(); break; }
  }
  return concat(...parts);
}
