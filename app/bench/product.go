package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"conclave/app/boot"
	"conclave/app/config"
	"conclave/ceremony/genesis"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/shamir"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/policies"
)

// Size of the fleet in the many-callers row.
const (
	fleet      = 1000 // applications, and as many keys
	keystoreID = "bench"
)

// serving is what the product process tells the driver.
type serving struct {
	URL        string `json:"url"`
	PID        int    `json:"pid"`
	Ciphertext string `json:"ciphertext"` // base64, of a data key of the first application
	CAFile     string `json:"ca_file"`    // whom its people trust for TLS
	TrustFile  string `json:"trust_file"` // the instance's trust file, which its people pin
	ReadyMS    int64  `json:"ready_ms"`   // from process start of the service to serving, keystore active
}

// product makes an instance in production mode in dir, fills it, and serves it until stdin closes. The
// service is the real one, started by package boot; only the rows that ceremonies would make one by one are
// put through the committer in bulk, since a thousand ceremonies are not what is measured.
func product(ctx context.Context, dir, profile string) error {
	signers, err := instance(ctx, dir)
	if err != nil {
		return err
	}
	cfg, err := configuration(dir)
	if err != nil {
		return err
	}
	start := time.Now()
	running, err := boot.Start(ctx, cfg, nil)
	if err != nil {
		return err
	}
	defer func() { _ = running.Close(context.WithoutCancel(ctx)) }()
	driver, err := activate(ctx, running, signers)
	if err != nil {
		return err
	}
	ready := time.Since(start)
	if err := fill(ctx, running.Custodian, driver, dir); err != nil {
		return err
	}
	sample, err := running.Custodian.Use(ctx, principal(0, dir), custodian.Use{Operation: access.DataKey, Key: keyName(0), Bytes: 32})
	if err != nil {
		return fmt.Errorf("making the sample ciphertext: %w", err)
	}
	stopProfile, err := startProfile(profile)
	if err != nil {
		return err
	}
	defer stopProfile()
	if err := handOut(signers, dir); err != nil {
		return err
	}
	err = json.NewEncoder(os.Stdout).Encode(serving{URL: running.URL, PID: os.Getpid(), ReadyMS: ready.Milliseconds(),
		Ciphertext: base64.StdEncoding.EncodeToString(sample.Ciphertext), CAFile: running.CAFile, TrustFile: running.TrustFile})
	if err != nil {
		return err
	}
	return obey(ctx, running.Custodian.Store())
}

// startProfile begins a CPU profile, where a file is named, and returns how to end it.
func startProfile(file string) (stop func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}

func configuration(dir string) (*config.Config, error) {
	return config.Load(config.Sources{Flags: map[string]string{"data_dir": filepath.Join(dir, "instance"), "listen": "127.0.0.1:0"}})
}

// instance makes keys, genesis and the data directory.
func instance(ctx context.Context, dir string) (map[string]*keyfile.Signer, error) {
	policy, err := policies.CarriedDigest()
	if err != nil {
		return nil, err
	}
	f := &genesis.File{Version: 1, Name: "Benchmark", Mode: custodian.Production, PolicyDigest: policy,
		Attestation: genesis.Attestation{FingerprintsCompared: "in-person", By: "bench-a", At: time.Now().UTC().Truncate(time.Second)}}
	signers := map[string]*keyfile.Signer{}
	var holders []string
	for _, id := range quorumIDs() {
		s, err := keyfile.Generate(id, "ES256")
		if err != nil {
			return nil, err
		}
		public := s.Public()
		f.People = append(f.People, genesis.Person{ID: id, Name: "Benchmark " + id, Team: "bench", Site: "here",
			Roles:       []people.Role{people.RoleCustodian, people.RoleSecurityOfficer, people.RoleKeyManager},
			ApprovalKey: public.ApprovalKey, ShareKey: &public.ShareKey})
		signers[id], holders = s, append(holders, id)
	}
	f.Keystores = []genesis.Keystore{{ID: keystoreID, Driver: "software", Jurisdiction: "EU", Environment: "production", Location: "here",
		Controller: "bench-a", ShareSet: genesis.ShareSet{ID: "bench-shares", Threshold: 2, Holders: holders}}}
	file, err := f.Encode()
	if err != nil {
		return nil, err
	}
	var signatures [][]byte
	for _, s := range signers {
		envelope, err := genesis.Sign(s, file)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, envelope)
	}
	cfg, err := configuration(dir)
	if err != nil {
		return nil, err
	}
	_, err = boot.Init(ctx, boot.InitOptions{Config: cfg, Genesis: file, Signatures: signatures})
	return signers, err
}

// activate opens the keystore with two shares, directly at the driver.
func activate(ctx context.Context, running *boot.Running, signers map[string]*keyfile.Signer) (hsm.Keystore, error) {
	view := running.Custodian.View()
	register := shamir.Register{Set: shamir.Set{ID: "bench-shares", Epoch: 1}, Threshold: 2, Commitments: map[int][]byte{}}
	var shares []*shamir.Share
	for _, s := range store.All[people.Share](view, custodian.KindShare) {
		register.Commitments[s.Index] = s.Commitment
		share, err := signers[s.Custodian].OpenShare(s.Sealed)
		if err != nil {
			return nil, err
		}
		shares = append(shares, share)
	}
	secret, err := shamir.Combine(register, shares[:2])
	if err != nil {
		return nil, err
	}
	defer secret.Wipe()
	driver, err := running.Custodian.Keystore(keystoreID)
	if err != nil {
		return nil, err
	}
	return driver, driver.Activate(ctx, secret)
}

func keyName(i int) string { return fmt.Sprintf("bench-key-%04d", i) }
func appName(i int) string { return fmt.Sprintf("bench-app-%04d", i) }

// principal is an application as auth would present it.
func principal(i int, dir string) identity.Principal {
	return identity.Principal{Kind: identity.Application, ID: appName(i), Credential: tokenIDs(dir)[i], Origin: "127.0.0.1", RequestID: "bench"}
}

// fill puts the fleet: every application with a grant on one key, and the first with grants on all.
func fill(ctx context.Context, door *custodian.Service, driver hsm.Keystore, dir string) error {
	tokens, err := os.OpenFile(filepath.Join(dir, "tokens.txt"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer tokens.Close()
	now := time.Now().UTC()
	for i := range fleet {
		material, err := driver.Create(ctx, keyName(i), 1, hsm.AES256, rand.Text())
		if err != nil {
			return err
		}
		token, cleartext, err := access.NewToken(string(identity.Application), appName(i), "genesis", now, 24*time.Hour)
		if err != nil {
			return err
		}
		err = cleartext.Use(func(b []byte) error {
			_, err := fmt.Fprintf(tokens, "%s\n", b)
			return err
		})
		if err != nil {
			return err
		}
		cleartext.Wipe()
		if _, err := door.Store().Control(ctx, func(tx *store.Tx) error { return putOne(tx, i, now, driver, material, token) }); err != nil {
			return fmt.Errorf("putting application %d: %w", i, err)
		}
	}
	return tokens.Sync()
}

// putOne puts one key with its version, and one application with its token and grant.
func putOne(tx *store.Tx, i int, now time.Time, driver hsm.Keystore, material hsm.Material, token access.Token) error {
	k := key.Key{ID: keyName(i), Label: "Benchmark", Type: key.DataEncryption, Classification: key.Internal, Impact: key.Low,
		Jurisdiction: "EU", Environment: "production", Owner: "bench-a", Keystore: keystoreID, Origin: "generated",
		OUPDays: 365, RUPDays: 730, RotateDays: 365, Current: 1, Versions: 1, GovRevision: 1, CreatedAt: now, CreatedBy: "genesis"}
	v := key.Version{Key: k.ID, Version: 1, Type: k.Type, State: key.Active, Keystore: keystoreID, Material: material,
		Algorithm: hsm.AlgorithmDerivedAES256GCM, StrengthBits: 256, CheckValue: material.CheckValue, GeneratedAt: now, ActivationAt: now,
		OUPEnd: now.AddDate(1, 0, 0), RUPEnd: now.AddDate(2, 0, 0), Module: driver.Facts().Module, RNG: driver.Facts().RNG}
	app := access.Application{ID: appName(i), Name: "Benchmark", Owner: "bench-a", Environment: "production", Status: "active", EnrolledAt: now, EnrolledBy: "genesis"}
	grant := access.Grant{ID: fmt.Sprintf("bench-grant-%04d", i), Application: app.ID, Key: k.ID, CreatedAt: now, ExpiresAt: now.AddDate(1, 0, 0),
		CreatedBy: "genesis", Operations: []access.Operation{access.DataKey, access.Encrypt, access.Decrypt, access.Rewrap}}
	rows := []struct {
		kind  store.Kind
		id    string
		value any
	}{{custodian.KindKey, k.ID, k}, {custodian.KindKeyVersion, key.VersionID(k.ID, 1), v}, {custodian.KindApplication, app.ID, app},
		{custodian.KindToken, token.ID, token}, {custodian.KindGrant, grant.ID, grant}}
	for _, row := range rows {
		if err := tx.Put(row.kind, row.id, row.value); err != nil {
			return err
		}
	}
	return tx.Append(ledger.Entry{Type: "bench.put", Actor: identity.Principal{Kind: identity.Node, ID: "bench"}, Outcome: ledger.Done,
		Target: ledger.Target{Type: "application", ID: app.ID}})
}

// announce tells the driver where to send load, and waits until it has had enough.
func announce(ctx context.Context, s serving) error {
	if err := json.NewEncoder(os.Stdout).Encode(s); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = os.Stdin.Read(make([]byte, 1))
	}()
	select {
	case <-ctx.Done():
	case <-ended:
	}
	return nil
}
