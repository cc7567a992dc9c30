package person

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"conclave/app/api"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian/jwk"
	"conclave/custodian/strictjson"
)

// ErrStillOpens says that an old share can not be attested as destroyed while a key in use opens it.
var ErrStillOpens = errors.New("your key still opens it")

// MoveShares opens every share of the person that is in use and seals it anew to other keys: the parameters of
// share.move. backup may be nil. Each sealing is signed with the share itself; no share leaves in the clear.
func (p *Person) MoveShares(ctx context.Context, to jwk.Key, backup *jwk.Key) (map[string]any, error) {
	self, err := p.self(ctx)
	if err != nil {
		return nil, err
	}
	params := map[string]any{}
	var recipients []shamir.Recipient
	for _, k := range []struct {
		member string
		key    *jwk.Key
	}{{"share_key", &to}, {"backup_share_key", backup}} {
		if k.key == nil {
			continue
		}
		raw, err := k.key.JSON()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.member, err)
		}
		params[k.member] = json.RawMessage(raw)
		recipients = append(recipients, shamir.Recipient{KeyID: k.key.Thumbprint(), Key: raw})
	}
	lines, err := p.API.MyShares(ctx)
	if err != nil {
		return nil, err
	}
	moved := []map[string]any{}
	for _, line := range lines {
		if !line.InUse {
			continue
		}
		m, err := p.moveShare(line, self.ShareKeyID, recipients)
		if err != nil {
			return nil, err
		}
		moved = append(moved, m)
	}
	params["shares"] = moved
	return params, nil
}

func (p *Person) moveShare(line api.Share, from string, recipients []shamir.Recipient) (map[string]any, error) {
	share, err := p.OpenShare(line)
	if err != nil {
		return nil, err
	}
	defer share.Wipe()
	sealed, err := shamir.Seal(share, recipients...)
	if err != nil {
		return nil, err
	}
	signature, err := share.SignMove(from, sealed)
	if err != nil {
		return nil, err
	}
	return map[string]any{"set": line.Set, "epoch": line.Epoch, "index": line.Index, "sealed": sealed,
		"signature": base64.StdEncoding.EncodeToString(signature)}, nil
}

// AttestDestroyed signs that an old share of the person is destroyed, before a witness who hands the envelope in
// (share.destroyed).
func (p *Person) AttestDestroyed(line api.Share, witness, method string) ([]byte, error) {
	if line.InUse {
		return nil, fmt.Errorf("share %d of set %s, epoch %d, is in use: only shares of epochs no longer in force are destroyed", line.Index, line.Set, line.Epoch)
	}
	share, err := p.Signer.OpenShare(line.Sealed)
	if err == nil {
		share.Wipe()
		return nil, fmt.Errorf("share %d of set %s, epoch %d: %w; move the shares in use to a new key first", line.Index, line.Set, line.Epoch, ErrStillOpens)
	}
	raw, err := json.Marshal(map[string]any{"instance": p.Trust.Instance, "person": p.Signer.ID(), "witness": witness, "set": line.Set,
		"epoch": line.Epoch, "index": line.Index, "method": method, "destroyed_at": p.Clock.Now().UTC().Truncate(time.Second).Format(time.RFC3339), "v": 1})
	if err != nil {
		return nil, fmt.Errorf("encoding attestation: %w", err)
	}
	payload, err := strictjson.Canonical(raw)
	if err != nil {
		return nil, fmt.Errorf("encoding attestation: %w", err)
	}
	return p.Signer.Sign(statement.TypeDestruction, payload)
}
