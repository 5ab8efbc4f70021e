package register

import (
	"encoding/binary"
	"math"
)

// What nodes say to each other about drives: fields one after another, numbers as varints,
// texts with their lengths before them.

// Append appends the change. Placed is there only where keys have moved: who knows none does not
// know of it.
func (c *Change) Append(b []byte) []byte {
	b = c.Key.appendWire(b)
	p := Past{Record: c.Record}
	b = p.append(b)
	b = appendBytes(b, c.Inline)
	b = appendBool(appendBool(b, c.Strict), c.Settles)
	if b = appendBytes(b, []byte(c.Session)); c.Placed > 0 {
		b = binary.AppendUvarint(b, c.Placed)
	}
	return b
}

// DecodeChange is the inverse of Append.
func DecodeChange(b []byte) (Change, error) {
	d := decoder{rest: b}
	c := Change{Key: d.key(), Record: d.past().Record, Inline: d.bytes(), Strict: d.bool(), Settles: d.bool(), Session: string(d.bytes())}
	if len(d.rest) > 0 {
		c.Placed = d.number()
	}
	return c, d.end()
}

// AppendRecord appends a record with its key, and the token of whoever brings it.
func AppendRecord(b []byte, key Key, r Record, t Token) []byte {
	p := Past{Record: r}
	return t.Append(p.append(key.appendWire(b)))
}

// DecodeRecord is the inverse of AppendRecord.
func DecodeRecord(b []byte) (Key, Record, Token, error) {
	d := decoder{rest: b}
	key, r, t := d.key(), d.past().Record, d.token()
	return key, r, t, d.end()
}

// Append appends the query, but for Inline.
func (q *Query) Append(b []byte) []byte {
	b = q.Key.appendWire(b)
	b = appendBytes(b, []byte(q.Version))
	b = q.Below.Append(q.Made.Append(b))
	return appendBool(b, q.NotNull)
}

// AppendRead appends a query that nothing follows. Who does not know of Inline ignores it.
func (q *Query) AppendRead(b []byte) []byte {
	if b = q.Append(b); q.Inline {
		b = appendBool(b, true)
	}
	return b
}

// DecodeRead is the inverse of AppendRead.
func DecodeRead(b []byte) (Query, error) {
	q, rest, err := DecodeQuery(b)
	d := decoder{rest: rest}
	q.Inline = len(rest) > 0 && d.bool()
	return q, err
}

// DecodeQuery is the inverse of Append, and returns what follows.
func DecodeQuery(b []byte) (q Query, rest []byte, err error) {
	d := decoder{rest: b}
	q = Query{Key: d.key(), Version: string(d.bytes()), Made: d.token(), Below: d.token(), NotNull: d.bool()}
	rest, d.rest = d.rest, nil
	return q, rest, d.end()
}

// Append appends the view. Inline is there only if it is: who has not asked for it does not
// know of it.
func (v *View) Append(b []byte) []byte {
	if b = v.append(b); len(v.Inline) > 0 {
		b = appendBytes(b, v.Inline)
	}
	return b
}

func (v *View) append(b []byte) []byte {
	b = appendBool(b, v.More)
	b = binary.AppendUvarint(b, uint64(len(v.Entries)))
	for i := range v.Entries {
		start := len(b)
		b = v.Entries[i].Append(binary.LittleEndian.AppendUint32(b, 0))
		binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-4)) //nolint:gosec // bounded by frames
	}
	return b
}

func (d *decoder) view() View {
	v := View{More: d.bool()}
	for n := d.length(len(d.rest)); n > 0 && !d.failed; n-- {
		size := d.take(4)
		if size == nil {
			return v
		}
		e, err := DecodeEntry(d.take(int(binary.LittleEndian.Uint32(size))))
		d.failed = d.failed || err != nil
		v.Entries = append(v.Entries, e)
	}
	return v
}

// DecodeView is the inverse of Append.
func DecodeView(b []byte) (View, error) {
	d := decoder{rest: b}
	v := d.view()
	if len(d.rest) > 0 {
		v.Inline = d.bytes()
	}
	return v, d.end()
}

// The bits of a decision's flags. Programs that know the first alone take others for no flag.
const (
	flagForget = 1 << iota
	flagEverywhere
)

// AppendDecisions appends decisions.
func AppendDecisions(b []byte, all []Decision) []byte {
	b = binary.AppendUvarint(b, uint64(len(all)))
	for i := range all {
		c := &all[i]
		b = appendBytes(c.Key.appendWire(b), []byte(c.Version))
		var flags byte
		if c.Forget {
			flags |= flagForget
		}
		if c.Everywhere {
			flags |= flagEverywhere
		}
		b = append(c.Changed.Append(c.Made.Append(b)), flags)
	}
	return b
}

// DecodeDecisions is the inverse of AppendDecisions.
func DecodeDecisions(b []byte) (all []Decision, err error) {
	d := decoder{rest: b}
	for n := d.length(len(b)); n > 0 && !d.failed; n-- {
		c := Decision{Key: d.key(), Version: string(d.bytes()), Made: d.token(), Changed: d.token()}
		if flags := d.take(1); flags != nil {
			c.Forget, c.Everywhere = flags[0]&flagForget != 0, flags[0]&flagEverywhere != 0
		}
		all = append(all, c)
	}
	return all, d.end()
}

// Append appends the query.
func (q *ScanQuery) Append(b []byte) []byte {
	b = Key{Space: q.Space, Bucket: q.Bucket, Name: q.Prefix}.appendWire(b)
	b = appendBytes(b, []byte(q.Delimiter))
	b = appendBytes(b, []byte(q.From))
	b = appendBool(q.Below.Append(b), q.Versions)
	return binary.AppendUvarint(b, uint64(q.Limit)) //nolint:gosec // not negative
}

// maxScan bounds what one scan may ask for.
const maxScan = 1 << 20

// DecodeScanQuery is the inverse of Append.
func DecodeScanQuery(b []byte) (ScanQuery, error) {
	d := decoder{rest: b}
	k := d.key()
	q := ScanQuery{
		Space: k.Space, Bucket: k.Bucket, Prefix: k.Name, Delimiter: string(d.bytes()), From: string(d.bytes()),
		Below: d.token(), Versions: d.bool(), Limit: d.length(maxScan),
	}
	return q, d.end()
}

// Append appends the query. Who does not know of Every refuses what follows.
func (q *PendingQuery) Append(b []byte) []byte {
	b = appendBytes(append(b, byte(q.Space)), []byte(q.From))
	if b = binary.AppendUvarint(b, uint64(q.Limit)); q.Every { //nolint:gosec // not negative
		b = appendBool(b, true)
	}
	return b
}

// DecodePendingQuery is the inverse of Append.
func DecodePendingQuery(b []byte) (q PendingQuery, err error) {
	d := decoder{rest: b}
	if space := d.take(1); space != nil {
		q.Space = Space(space[0])
	}
	q.From, q.Limit = string(d.bytes()), d.length(maxScan)
	q.Every = len(d.rest) > 0 && d.bool()
	return q, d.end()
}

// Append appends the page.
func (p *ScanPage) Append(b []byte) []byte { return p.AppendMost(b, math.MaxInt) }

// AppendMost appends as many items of the page as there is room for in so many bytes, one at
// least if there is any.
func (p *ScanPage) AppendMost(b []byte, room int) []byte {
	var items []byte
	n := 0
	for ; n < len(p.Items) && (n == 0 || len(items) < room); n++ {
		items = appendBytes(items, []byte(p.Items[n].Name))
		items = appendBytes(items, []byte(p.Items[n].First))
		items = p.Items[n].append(items)
	}
	b = appendBool(b, p.More || n < len(p.Items))
	return append(binary.AppendUvarint(b, uint64(n)), items...)
}

// DecodeScanPage is the inverse of Append.
func DecodeScanPage(b []byte) (ScanPage, error) {
	d := decoder{rest: b}
	p := ScanPage{More: d.bool()}
	for n := d.length(len(b)); n > 0 && !d.failed; n-- {
		p.Items = append(p.Items, ScanItem{Name: string(d.bytes()), First: string(d.bytes()), View: d.view()})
	}
	return p, d.end()
}

func (k Key) appendWire(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, byte(k.Space)), k.Bucket)
	return appendBytes(b, []byte(k.Name))
}

func (d *decoder) key() Key {
	b := d.take(9)
	if b == nil {
		return Key{}
	}
	return Key{Space: Space(b[0]), Bucket: binary.BigEndian.Uint64(b[1:]), Name: string(d.bytes())}
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func (d *decoder) bool() bool {
	b := d.take(1)
	return b != nil && b[0] == 1
}

// end returns an error unless everything was read.
func (d *decoder) end() error {
	if d.failed || len(d.rest) > 0 {
		return errFormat
	}
	return nil
}
