package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian"
	"conclave/custodian/dsse"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
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
	State     string         `json:"state"`
	Params    jsontext.Value `json:"params"`
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
		Envelope   jsontext.Value `json:"envelope"`
	} `json:"votes"`
	Approvers []string `json:"approvers"`
}

// requesterName is how statements name the requester: a person's id, or "node:id".
func (c *signedCeremony) requesterName() string {
	if c.Requester.Kind == "human" {
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
	if err := v.persons(); err != nil {
		return err
	}
	ceremonies, votes := 0, 0
	for _, row := range v.index.Rows {
		if row.Kind != kindCeremony || row.File == "" {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		body, err := v.archive.read(row.File)
		if err != nil {
			return err
		}
		var c signedCeremony
		if err := json.Unmarshal(body, &c); err != nil {
			return fault(row.File, fmt.Errorf("%w: %w", ErrFormat, err))
		}
		n, err := v.ceremony(&c)
		if err != nil {
			return fault(row.File, fmt.Errorf("%w: %w", ErrTranscript, err))
		}
		ceremonies, votes = ceremonies+1, votes+n
	}
	v.result.Ceremonies, v.result.Signatures = ceremonies, votes
	v.say("Each of %d signatures under %d ceremonies is by a key of the person named, over exactly the operation, parameters, target, policy and checkpoint that the ceremony's row has; whoever is said to have approved has signed.", votes, ceremonies)
	return nil
}

// persons reads the people and their public keys.
func (v *verifier) persons() error {
	v.people = map[string]*people.Person{}
	for _, row := range v.index.Rows {
		if row.Kind != string(custodian.KindPerson) || row.File == "" {
			continue
		}
		body, err := v.archive.read(row.File)
		if err != nil {
			return err
		}
		p := new(people.Person)
		if err := json.Unmarshal(body, p); err != nil {
			return fault(row.File, fmt.Errorf("%w: %w", ErrFormat, err))
		}
		v.people[p.ID] = p
	}
	return nil
}

// ceremony checks the signatures of one and counts them.
func (v *verifier) ceremony(c *signedCeremony) (int, error) {
	count := 0
	if len(c.Proposal) > 0 && c.Proposal.Kind() == '{' {
		if err := v.proposal(c); err != nil {
			return 0, err
		}
		count++
	}
	var approved []string
	for _, vote := range c.Votes {
		if len(vote.Envelope) == 0 {
			return 0, fmt.Errorf("the vote of %s carries no signature", clip(vote.Person))
		}
		payload, err := v.signedBy(vote.Envelope, typeStatement, vote.Person, vote.Credential)
		if err != nil {
			return 0, err
		}
		var s signedStatement
		if err := json.Unmarshal(payload, &s); err != nil {
			return 0, fmt.Errorf("statement of %s: %w", clip(vote.Person), err)
		}
		if err := v.covers(&s, c, vote.Person, vote.Decision); err != nil {
			return 0, fmt.Errorf("statement of %s: %w", clip(vote.Person), err)
		}
		if s.Decision == "approve" {
			approved = append(approved, vote.Person)
		}
		count++
	}
	for _, person := range c.Approvers {
		if !slices.Contains(approved, person) {
			return 0, fmt.Errorf("%s is said to have approved it and has not signed", clip(person))
		}
	}
	return count, nil
}

// signedBy checks an envelope by a key of a person, revoked since or not: the key counted when it signed.
func (v *verifier) signedBy(envelope []byte, payloadType, person, credential string) ([]byte, error) {
	e, err := dsse.Parse(envelope)
	if err != nil {
		return nil, fmt.Errorf("signature of %s: %w", clip(person), err)
	}
	p := v.people[person]
	if p == nil {
		return nil, fmt.Errorf("the bundle holds no row of %s, who signed", clip(person))
	}
	for _, key := range p.ApprovalKeys {
		if key.ID != e.KeyID() || (credential != "" && key.ID != credential) {
			continue
		}
		key.Revoked = false
		payload, err := e.Verify(payloadType, key)
		if err != nil {
			return nil, fmt.Errorf("signature of %s: %w", clip(person), err)
		}
		return payload, nil
	}
	return nil, fmt.Errorf("signature of %s: key %s is none of theirs", clip(person), clip(e.KeyID()))
}

// proposal checks the requester's signed request.
func (v *verifier) proposal(c *signedCeremony) error {
	person := c.Requester.ID
	if c.Requester.Kind != "human" {
		person = c.Requester.CalledBy
	}
	payload, err := v.signedBy(c.Proposal, typeRequest, person, "")
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	var r struct {
		Instance string `json:"instance"`
		Person   string `json:"person"`
	}
	if err := json.Unmarshal(payload, &r); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	if r.Instance != v.manifest.Instance || r.Person != person {
		return errors.New("request: it is of another instance or person")
	}
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
func (v *verifier) policyBundles(context.Context) error {
	files := map[string]policies.Files{}
	var digests []string
	for _, row := range v.index.Rows {
		switch row.Kind {
		case string(custodian.KindPolicyBundle):
			digests = append(digests, row.ID)
		case string(custodian.KindPolicyFiles):
			body, err := v.archive.read(row.File)
			if err != nil {
				return err
			}
			var part custodian.PolicyFiles
			if err := json.Unmarshal(body, &part); err != nil {
				return fault(row.File, fmt.Errorf("%w: %w", ErrFormat, err))
			}
			if files[part.Digest] == nil {
				files[part.Digest] = policies.Files{}
			}
			for name, text := range part.Files {
				files[part.Digest][name] = []byte(text)
			}
		}
	}
	for _, digest := range digests {
		if got := files[digest].Digest(); got != digest {
			return faultf(fileRows, ErrPolicy, "the files of bundle %s have digest %s", clip(digest), got)
		}
	}
	v.say("The bundle holds %d policy bundles, each whole by its digest.", len(digests))
	var absent []string
	for mark := range v.policies {
		if !slices.ContainsFunc(digests, func(d string) bool { return strings.HasPrefix(d, mark) }) {
			absent = append(absent, clip(mark))
		}
	}
	if len(absent) > 0 {
		slices.Sort(absent)
		v.say("Entries of the period were decided under policy bundles that are NOT in it: %s.", strings.Join(absent, ", "))
	}
	return nil
}

// genesisFile checks that the instance row holds the file that the instance is named by.
func (v *verifier) genesisFile(context.Context) error {
	for _, row := range v.index.Rows {
		if row.Kind != string(custodian.KindInstance) || row.File == "" {
			continue
		}
		body, err := v.archive.read(row.File)
		if err != nil {
			return err
		}
		var instance custodian.Instance
		if err := json.Unmarshal(body, &instance); err != nil {
			return fault(row.File, fmt.Errorf("%w: %w", ErrFormat, err))
		}
		if sum := sha256.Sum256(instance.Genesis); hex.EncodeToString(sum[:]) != v.manifest.Instance {
			return faultf(row.File, ErrForeignInstance, "the SHA-256 of its genesis file is not the instance's id")
		}
		v.say("The genesis file in the bundle has the SHA-256 that names the instance.")
		return nil
	}
	return faultf(fileRows, ErrMissing, "no row of the instance")
}
