package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/dsse"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/strictjson"
	"conclave/policies"
)

// DSSE payload types of what people sign (docs/statement-format.md, section 3); package ceremony is a sibling.
const (
	typeStatement = "application/vnd.conclave.statement+json"
	typeRequest   = "application/vnd.conclave.request+json"
)

// signedCeremony is what is held against signatures of a ceremony's row. Other members are passed over.
type signedCeremony struct {
	ID        string         `json:"id"`
	Operation string         `json:"operation"`
	Class     string         `json:"class"`
	State     string         `json:"state"`
	Params    jsontext.Value `json:"params"`
	Reason    string         `json:"reason"`
	Target    struct {
		Type        string `json:"type"`
		ID          string `json:"id"`
		GovRevision uint64 `json:"gov_revision"`
	} `json:"target"`
	Requester struct {
		Kind     string `json:"kind"`
		ID       string `json:"id"`
		CalledBy string `json:"called_by"` // person who called for a node's ceremony
	} `json:"requester"`
	Proposal     jsontext.Value `json:"proposal"`
	PolicyDigest string         `json:"policy_digest"`
	Checkpoint   string         `json:"checkpoint"` // "size root"
	Nonce        string         `json:"nonce"`
	Votes        []struct {
		Person     string         `json:"person"`
		Credential string         `json:"credential"`
		Decision   string         `json:"decision"`
		At         time.Time      `json:"at"`
		Envelope   jsontext.Value `json:"envelope"`
	} `json:"votes"`
	Approvers []string `json:"approvers"`

	exact bool // the signed request is over exactly operation, parameters and reason
	// askedWith is the key that signed the request, approvedWith those of the approvals, by person.
	askedWith    string
	approvedWith map[string]string
}

// human requesters sign what they ask for.
const human = "human"

// requesterName is how statements name the requester: a person's id, or "node:id".
func (c *signedCeremony) requesterName() string {
	if c.Requester.Kind == human {
		return c.Requester.ID
	}
	return c.Requester.Kind + ":" + c.Requester.ID
}

// signedStatement is the payload of a vote.
type signedStatement struct {
	Instance   string         `json:"instance"`
	Mode       string         `json:"mode"`
	Ceremony   string         `json:"ceremony"`
	Operation  string         `json:"operation"`
	Params     jsontext.Value `json:"params"`
	Policy     string         `json:"policy"`
	Requester  string         `json:"requester"`
	Signer     string         `json:"signer"`
	Decision   string         `json:"decision"`
	Nonce      string         `json:"nonce"`
	IssuedAt   time.Time      `json:"issued_at"`
	ExpiresAt  time.Time      `json:"expires_at"`
	Checkpoint struct {
		Root string `json:"root"`
		Size uint64 `json:"size"`
	} `json:"checkpoint"`
	Target struct {
		GovRevision uint64 `json:"gov_revision"`
		ID          string `json:"id"`
		Type        string `json:"type"`
	} `json:"target"`
}

// transcripts checks every signature under the ceremonies in the bundle, by the keys of the person rows.
func (v *verifier) transcripts(ctx context.Context) error {
	if err := v.persons(ctx); err != nil {
		return err
	}
	ceremonies, votes, inexact := 0, 0, 0
	err := v.bodies(ctx, kindCeremony, ErrTranscript, func(row RowFile, body []byte) error {
		c := new(signedCeremony)
		if err := read(row, body, c); err != nil {
			return err
		}
		if c.ID != row.ID {
			return fmt.Errorf("it is the row of ceremony %s", clip(c.ID))
		}
		n, err := v.ceremony(row, c)
		if err != nil {
			return err
		}
		ceremonies, votes = ceremonies+1, votes+n
		if c.asker() != "" && !c.exact {
			inexact++
		}
		v.keep(c)
		if v.span.holds(row.Seq) {
			v.policies[c.PolicyDigest] = true
		}
		return v.handedIn(row, c)
	})
	if err != nil {
		return err
	}
	v.result.Ceremonies, v.result.Signatures = ceremonies, votes
	v.say("%s under %s is by a key of the person named, over exactly the operation, parameters, target, policy and checkpoint that the ceremony's row has; whoever is said to have asked or approved has signed.", amount.Each(votes, "signature"), amount.Of(ceremonies, "ceremony"))
	v.sayRests()
	if inexact > 0 {
		v.say("%s signed in another spelling than the rows hold, or the service added what they act on: what exactly was asked for there is NOT shown; what was approved is.", amount.Of(inexact, "request")+" "+amount.Verb(inexact, "is", "are"))
	}
	return nil
}

// handedIn checks what somebody signed and a ceremony took in.
func (v *verifier) handedIn(row RowFile, c *signedCeremony) error {
	switch c.Operation {
	case opAcknowledge:
		var p struct {
			Envelope jsontext.Value `json:"envelope"`
		}
		if err := read(row, c.Params, &p); err != nil {
			return err
		}
		if _, err := v.acknowledged(p.Envelope, c.asker()); err != nil {
			return fault(row.File, fmt.Errorf("%w: %w", ErrAcknowledgement, err))
		}
	case opDestroyed:
		return v.destroyed(c)
	}
	return nil
}

// persons reads the people and their public keys.
func (v *verifier) persons(ctx context.Context) error {
	v.people = map[string]*people.Person{}
	return v.bodies(ctx, string(custodian.KindPerson), ErrFormat, func(row RowFile, body []byte) error {
		p := new(people.Person)
		if err := read(row, body, p); err != nil {
			return err
		}
		if p.ID != row.ID {
			return fmt.Errorf("it is the row of %s", clip(p.ID))
		}
		v.people[p.ID] = p
		return nil
	})
}

// ceremony checks the signatures of one and counts them.
func (v *verifier) ceremony(row RowFile, c *signedCeremony) (int, error) {
	count := 0
	if c.asker() != "" {
		if err := v.proposal(c); err != nil {
			return 0, err
		}
		v.noteUse(row, keyName{c.asker(), c.askedWith})
		count++
	}
	c.approvedWith = map[string]string{}
	for _, vote := range c.Votes {
		if len(vote.Envelope) == 0 {
			return 0, fmt.Errorf("the vote of %s carries no signature", clip(vote.Person))
		}
		payload, with, err := v.signedWith(vote.Envelope, typeStatement, vote.Person, vote.Credential)
		if err != nil {
			return 0, err
		}
		var s signedStatement
		if err := json.Unmarshal(payload, &s); err != nil {
			return 0, fmt.Errorf("statement of %s: %w", clip(vote.Person), err)
		}
		if err := errors.Join(v.covers(&s, c, vote.Person, vote.Decision), inTime(&s, vote.At)); err != nil {
			return 0, fmt.Errorf("statement of %s: %w", clip(vote.Person), err)
		}
		if err := v.restsOn(&s); err != nil {
			return 0, fault(row.File, fmt.Errorf("%w: statement of %s: %w", ErrFork, clip(vote.Person), err))
		}
		v.noteUse(row, keyName{vote.Person, with})
		if s.Decision == "approve" {
			c.approvedWith[vote.Person] = with
		}
		count++
	}
	for _, person := range c.Approvers {
		if c.approvedWith[person] == "" {
			return 0, fmt.Errorf("%s is said to have approved it and has not signed", clip(person))
		}
	}
	if err := v.approvedEnough(c); err != nil && v.short == nil {
		v.short = fault(row.File, fmt.Errorf("%w: %w", ErrTranscript, err))
	}
	return count, nil
}

// payloadOf reads what an envelope claims, before anything is verified.
func payloadOf(envelope []byte) ([]byte, error) {
	e, err := dsse.Parse(envelope)
	if err != nil {
		return nil, err
	}
	return e.UnverifiedPayload(), nil
}

// signedBy is signedWith where it does not matter which of their keys it was.
func (v *verifier) signedBy(envelope []byte, payloadType, person string) ([]byte, error) {
	payload, _, err := v.signedWith(envelope, payloadType, person, "")
	return payload, err
}

// signedWith checks an envelope by a key of a person, revoked since or not: the key counted when it signed. It returns what
// was signed and the key's id.
func (v *verifier) signedWith(envelope []byte, payloadType, person, credential string) ([]byte, string, error) {
	e, err := dsse.Parse(envelope)
	if err != nil {
		return nil, "", fmt.Errorf("signature of %s: %w", clip(person), err)
	}
	p := v.people[person]
	if p == nil {
		return nil, "", fmt.Errorf("the bundle holds no row of %s, who signed", clip(person))
	}
	for _, key := range p.ApprovalKeys {
		if key.ID != e.KeyID() || (credential != "" && key.ID != credential) {
			continue
		}
		key.Revoked = false
		payload, err := e.Verify(payloadType, key)
		if err == nil {
			err = strictjson.CheckCanonical(payload)
		}
		if err != nil {
			return nil, "", fmt.Errorf("signature of %s: %w", clip(person), err)
		}
		return payload, key.ID, nil
	}
	return nil, "", fmt.Errorf("signature of %s: key %s is none of theirs", clip(person), clip(e.KeyID()))
}

// asker is the person who asked for a ceremony and signed that; "" for one that a node began by itself.
func (c *signedCeremony) asker() string {
	if c.Requester.Kind == human {
		return c.Requester.ID
	}
	return c.Requester.CalledBy
}

// proposal checks the requester's signed request, and whether it is over exactly what the row has: the SHA-256 of the
// request's body is signed, and clients send it as RFC 8785 JSON.
func (v *verifier) proposal(c *signedCeremony) error {
	person := c.asker()
	payload, with, err := v.signedWith(c.Proposal, typeRequest, person, "")
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	var r struct {
		Instance string `json:"instance"`
		Person   string `json:"person"`
		Method   string `json:"method"`
		Path     string `json:"path"`
		Body     string `json:"body_sha256"`
	}
	if err := json.Unmarshal(payload, &r); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	path, _, _ := strings.Cut(r.Path, "?")
	if err := v.askedOnce(payload, c.ID); err != nil {
		return err
	}
	if r.Instance != v.manifest.Instance || r.Person != person || r.Method != http.MethodPost || path != pathOfProposals {
		return errors.New("request: it is of another instance or person, or no proposal")
	}
	body, err := digest(map[string]any{"operation": c.Operation, "params": c.Params, "reason": c.Reason})
	c.exact, c.askedWith = err == nil && body == r.Body, with
	return nil
}

// covers holds a statement to the ceremony that it is under.
func (v *verifier) covers(s *signedStatement, c *signedCeremony, person, decision string) error {
	checks := []struct{ what, signed, row string }{
		{"instance", s.Instance, v.manifest.Instance}, {"mode", s.Mode, v.manifest.Mode}, {"ceremony", s.Ceremony, c.ID},
		{"operation", s.Operation, c.Operation}, {"policy", s.Policy, c.PolicyDigest}, {"requester", s.Requester, c.requesterName()},
		{"signer", s.Signer, person}, {"decision", s.Decision, decision}, {"nonce", s.Nonce, c.Nonce},
		{"target", s.Target.Type + " " + s.Target.ID, c.Target.Type + " " + c.Target.ID},
		{"target revision", fmt.Sprint(s.Target.GovRevision), fmt.Sprint(c.Target.GovRevision)},
		{"checkpoint", fmt.Sprintf("%d %s", s.Checkpoint.Size, s.Checkpoint.Root), c.Checkpoint},
	}
	for _, x := range checks {
		if x.signed != x.row {
			return fmt.Errorf("it covers %s %q, the ceremony has %q", x.what, clip(x.signed), clip(x.row))
		}
	}
	signed, row := s.Params.Clone(), c.Params.Clone()
	if signed.Canonicalize() != nil || row.Canonicalize() != nil || !bytes.Equal(signed, row) {
		return errors.New("it covers other parameters than the ceremony has")
	}
	return nil
}

// notePolicy remembers which bundle an entry says was in force.
func (v *verifier) notePolicy(e *ledger.Entry) {
	if e.Policy != "" && e.Seq >= v.span.First && e.Seq < v.span.End {
		v.policies[e.Policy] = true
	}
}

// policyBundles checks that each policy bundle is the one of its digest, and says which entries' are not there.
func (v *verifier) policyBundles(ctx context.Context) error {
	files := map[string]policies.Files{}
	var digests []string
	for _, row := range v.index.Rows {
		if row.Kind == string(custodian.KindPolicyBundle) {
			digests = append(digests, row.ID)
		}
	}
	err := v.bodies(ctx, string(custodian.KindPolicyFiles), ErrPolicy, func(row RowFile, body []byte) error {
		var part custodian.PolicyFiles
		if err := read(row, body, &part); err != nil {
			return err
		}
		if files[part.Digest] == nil {
			files[part.Digest] = policies.Files{}
		}
		for name, text := range part.Files {
			files[part.Digest][name] = []byte(text)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, digest := range digests {
		if got := files[digest].Digest(); got != digest {
			return faultf(fileRows, ErrPolicy, "the files of bundle %s have digest %s", clip(digest), got)
		}
	}
	v.say("Policy bundles that the bundle holds, each whole by its digest: %d.", len(digests))
	var absent []string
	for mark := range v.policies {
		if !slices.ContainsFunc(digests, func(d string) bool { return strings.HasPrefix(d, mark) }) {
			absent = append(absent, clip(mark))
		}
	}
	if len(absent) > 0 {
		slices.Sort(absent)
		v.say("Entries or ceremonies of the period were decided under policy bundles that are NOT in it: %s.", strings.Join(absent, ", "))
	}
	return nil
}
