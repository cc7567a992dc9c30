// A zip archive within the bounds of a bundle: names, sizes and counts are checked before anything is unpacked.
const LIMITS = {archive: 256 * 2 ** 20, files: 60000, file: 64 * 2 ** 20, unpacked: 512 * 2 ** 20, name: 512};

class Archive {
  constructor(bytes) {
    if (bytes.length > LIMITS.archive) throw new Fault('large', '', bytes.length + ' bytes');
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.entries = new Map();
    try { this.directory(); } catch (e) {
      if (e instanceof Fault) throw e;
      throw new Fault('format', '', 'the archive is cut or damaged');
    }
  }

  directory() {
    const v = this.view;
    let end = this.bytes.length - 22;
    for (const least = Math.max(0, end - 65535); end >= least && v.getUint32(end, true) !== 0x06054b50; end--);
    if (end < 0 || v.getUint32(end, true) !== 0x06054b50) throw new Fault('format', '', 'no zip archive, or its end is missing');
    const count = v.getUint16(end + 10, true);
    let at = v.getUint32(end + 16, true), total = 0;
    if (count > LIMITS.files) throw new Fault('large', '', count + ' files');
    for (let i = 0; i < count; i++) {
      if (v.getUint32(at, true) !== 0x02014b50) throw new Fault('format', '', 'its list of files is damaged');
      const nameLength = v.getUint16(at + 28, true);
      const name = text(this.bytes.subarray(at + 46, at + 46 + nameLength));
      const e = {method: v.getUint16(at + 10, true), packed: v.getUint32(at + 20, true), size: v.getUint32(at + 24, true), local: v.getUint32(at + 42, true)};
      if (!plainName(name)) throw new Fault('extra', clip(name), 'its name is not a plain relative path');
      if (this.entries.has(name)) throw new Fault('extra', name, 'its name occurs twice');
      total += e.size;
      if (e.size > LIMITS.file || total > LIMITS.unpacked) throw new Fault('large', name, e.size + ' bytes unpacked');
      this.entries.set(name, e);
      at += 46 + nameLength + v.getUint16(at + 30, true) + v.getUint16(at + 32, true);
    }
  }

  has(name) { return this.entries.has(name); }
  names() { return [...this.entries.keys()].sort(); }

  async read(name) {
    const e = this.entries.get(name);
    if (!e) throw new Fault('missing', name);
    if (e.data) return e.data;
    let data;
    try {
      const v = this.view;
      if (v.getUint32(e.local, true) !== 0x04034b50) throw new Error('no header');
      const from = e.local + 30 + v.getUint16(e.local + 26, true) + v.getUint16(e.local + 28, true);
      const packed = this.bytes.subarray(from, from + e.packed);
      if (packed.length !== e.packed) throw new Error('cut');
      data = e.method === 0 ? packed : await inflate(packed, e.size);
    } catch (err) {
      throw new Fault('altered', name, 'it cannot be unpacked');
    }
    if (data.length !== e.size) throw new Fault('altered', name, 'its size is not the one that the archive states');
    return (e.data = data);
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
