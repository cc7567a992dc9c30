package siem

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"conclave/custodian/ledger"
)

// Syslog delivers RFC 5424 messages over TLS, framed by octet counting (RFC 5425). The protocol acknowledges nothing, so
// that records count as taken when the receiver's kernel has acknowledged every byte, and every new connection begins some
// records back ([Repeater]): what a receiver had in memory when it died comes again.
type Syslog struct {
	address string
	tls     *tls.Config
	repeats uint64
	src     Source
	conn    *tls.Conn
}

// NewSyslog delivers to host:port. config names who is trusted there; its ServerName may be empty. Every connection begins
// with as many of the records that were delivered before as repeats says.
func NewSyslog(address string, config *tls.Config, repeats uint64, src Source) *Syslog {
	c := config.Clone()
	if host, _, err := net.SplitHostPort(address); err == nil && c.ServerName == "" {
		c.ServerName = host
	}
	return &Syslog{address: address, tls: c, repeats: repeats, src: src}
}

// Name implements [Target].
func (s *Syslog) Name() string { return "syslog" }

// Close implements [Target].
func (s *Syslog) Close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}

// Send implements [Target].
func (s *Syslog) Send(ctx context.Context, records []Record) (err error) {
	var batch []byte
	for i := range records {
		batch = appendFrame(batch, message(&records[i], s.src))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := s.connect(ctx); err != nil {
		return err
	}
	return s.write(ctx, batch)
}

// Connected implements [Repeater]. A connection that the receiver has ended is given up.
func (s *Syslog) Connected() bool {
	if s.conn == nil {
		return false
	}
	if closed(s.conn) {
		_ = s.Close() // it has ended already
		return false
	}
	return true
}

// Repeats implements [Repeater].
func (s *Syslog) Repeats() uint64 { return s.repeats }

// connect dials where there is no connection.
func (s *Syslog) connect(ctx context.Context) error {
	if s.conn != nil {
		return nil
	}
	dialer := tls.Dialer{Config: s.tls}
	conn, err := dialer.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	s.conn = conn.(*tls.Conn)
	return nil
}

// closed finds out whether the receiver has ended the connection. It sends nothing by itself, so that anything but a
// time-out means the end.
func closed(conn *tls.Conn) bool {
	if err := conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return true
	}
	_, err := conn.Read(make([]byte, 1))
	var timeout net.Error
	return !errors.As(err, &timeout) || !timeout.Timeout()
}

// write sends and waits until the receiver's kernel has taken every byte.
func (s *Syslog) write(ctx context.Context, data []byte) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := s.conn.SetWriteDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := s.conn.Write(data); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		left, err := unacknowledged(s.conn.NetConn())
		if err != nil {
			return fmt.Errorf("%d bytes are not acknowledged: %w", left, err)
		}
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d bytes are not acknowledged: %w", left, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// tcpClose is the state of a connection that is over (TCP_CLOSE of Linux, include/net/tcp_states.h).
const tcpClose = 7

// unacknowledged is how many bytes the peer has not acknowledged (SIOCOUTQ of tcp(7)). Of a connection that the peer has reset
// it will acknowledge none: that is an error.
func unacknowledged(conn net.Conn) (int, error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return 0, errors.New("not a TCP connection")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	var left int
	var asked error
	err = raw.Control(func(fd uintptr) {
		var info *unix.TCPInfo
		if info, asked = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); asked != nil {
			return
		}
		left, asked = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		if left > 0 && info.State == tcpClose {
			asked = unix.ECONNRESET
		}
	})
	return left, errors.Join(err, asked)
}

// appendFrame frames by octet counting (RFC 5425 section 4.3).
func appendFrame(dst, message []byte) []byte {
	dst = strconv.AppendInt(dst, int64(len(message)), 10)
	dst = append(dst, ' ')
	return append(dst, message...)
}

// Syslog facility and severities (RFC 5424 section 6.2.1). The enterprise number of the structured data is the one
// that RFC 5612 reserves for where none is registered.
const (
	facilityAudit = 13
	sdID          = "conclave@32473"
)

// message writes one record as an RFC 5424 message: what is searched for as structured data, the entry as its text.
func message(r *Record, src Source) []byte {
	level := []int{6, 4, 1}[r.severity()] // informational, warning, alert
	kind, text := "export.gap", []byte(r.Gap)
	params := []string{"instance", src.Instance, "mode", src.Mode}
	if e := r.Entry; e != nil {
		leaf := ledger.LeafHash(r.Raw)
		kind, text = e.Type, r.Raw
		params = append(params, "seq", strconv.FormatUint(e.Seq, 10), "leaf", hex.EncodeToString(leaf[:]), "actor", e.Actor.String(), "from", e.Actor.Origin,
			"target", e.Target.Type+":"+e.Target.ID, "outcome", string(e.Outcome), "reason", e.Reason, "ceremony", e.Ceremony)
	} else {
		params = append(params, "seq", strconv.FormatUint(r.Seq, 10))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<%d>1 %s %s conclave - %s [%s", facilityAudit*8+level, r.at().UTC().Format("2006-01-02T15:04:05.000000Z"), header(src.Node, 255), header(kind, 32), sdID)
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`)
	for i := 0; i < len(params); i += 2 {
		if params[i+1] != "" && params[i+1] != ":" {
			fmt.Fprintf(&b, ` %s="%s"`, params[i], escape.Replace(params[i+1]))
		}
	}
	b.WriteString("] \xef\xbb\xbf") // the text is UTF-8: RFC 5424 section 6.4 marks it so
	return append([]byte(b.String()), text...)
}

// header holds a field of the header to printable ASCII of a length.
func header(s string, most int) string {
	clean := strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
	if clean == "" {
		return "-"
	}
	return clean[:min(len(clean), most)]
}
