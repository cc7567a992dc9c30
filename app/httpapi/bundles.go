package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"

	"conclave/app/api"
	"conclave/ceremony/bundles"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/store"
)

// proposeCeremony is what handing a bundle in and trying it is judged as: they lead to nothing else.
const proposeCeremony = "ceremony.propose"

func (s *server) listBundles(x *exchange) error {
	if err := x.authorise(readPolicy, "policy", "bundles"); err != nil {
		return err
	}
	view := s.door.View()
	inForce := s.door.PoliciesOf(view)
	out := api.PolicyBundles{InForce: inForce.Digest(), Items: []api.PolicyBundle{}, History: []api.PolicySpell{}}
	if err := inForce.Problem(); err != nil {
		out.Problem = clean(err.Error())
	}
	for _, b := range store.All[custodian.PolicyBundle](view, custodian.KindPolicyBundle) {
		out.Items = append(out.Items, bundleOf(view, b, out.InForce))
	}
	for _, e := range custodian.PolicyHistory(view) {
		out.History = append(out.History, api.PolicySpell{Digest: e.Digest, PolicyTerm: termOf(e)})
	}
	return x.json(http.StatusOK, out)
}

func termOf(e custodian.PolicyEntry) api.PolicyTerm {
	return api.PolicyTerm{Number: e.Number, From: e.From, Until: e.Until, Ceremony: e.Ceremony, Operation: e.Operation}
}

func bundleOf(view *store.View, b *custodian.PolicyBundle, inForce string) api.PolicyBundle {
	out := api.PolicyBundle{Digest: b.Digest, Name: b.Name, State: "proposed", Signer: b.Signer, AddedBy: b.AddedBy, AddedAt: b.AddedAt,
		Files: b.Files, Bytes: b.Bytes, Terms: []api.PolicyTerm{}}
	if c := b.Check; c != nil {
		out.Check = &api.BundleCheck{Tests: c.Tests, Coverage: c.Coverage, Probes: c.Probes, Findings: c.Findings}
	}
	for _, e := range custodian.PolicyHistory(view) {
		if e.Digest == b.Digest {
			out.State, out.Terms = "was-in-force", append(out.Terms, termOf(e))
		}
	}
	if b.Digest == inForce {
		out.State = "in-force"
	}
	if row, _, err := store.Get[custodian.PolicyBacktest](view, custodian.KindBacktest, b.Digest); err == nil && row.Against == inForce {
		out.Tried = sumsOf(row.BacktestSummary)
	}
	return out
}

func sumsOf(s custodian.BacktestSummary) *api.BacktestSums { sums := api.BacktestSums(s); return &sums }

// handIn takes a signed bundle in. Only people do, by a signed request.
func (s *server) handIn(x *exchange) error {
	var in api.BundleUpload
	if err := x.decode(&in); err != nil {
		return err
	}
	if err := x.onlyPeople("bundle"); err != nil {
		return err
	}
	record, err := s.cfg.Bundles.HandIn(x.ctx(), x.who, in.Envelope, in.Archive)
	if err != nil {
		return err
	}
	return x.bundleDetail(http.StatusCreated, record)
}

// onlyPeople has the preparation of a proposal judged.
func (x *exchange) onlyPeople(target string) error {
	if x.who.Kind != identity.Human {
		return &custodian.InputError{Field: "credentials", Problem: "of a " + string(x.who.Kind), Allowed: "a person's signed request"}
	}
	return x.authorise(proposeCeremony, "policy", target)
}

func (x *exchange) bundleDetail(status int, record *custodian.PolicyBundle) error {
	view := x.s.door.View()
	changes, err := x.s.cfg.Bundles.Changes(view, record.Digest)
	if err != nil {
		return err
	}
	out := api.BundleDetail{Bundle: bundleOf(view, record, x.s.door.PoliciesOf(view).Digest()), Changes: []api.PolicyChange{}}
	for _, c := range changes {
		out.Changes = append(out.Changes, api.PolicyChange(c))
	}
	return x.json(status, out)
}

func (s *server) getBundle(x *exchange) error {
	digest := x.c.Param("digest")
	if err := x.authorise(readPolicy, "policy", digest); err != nil {
		return err
	}
	record, _, err := custodian.StoredPolicy(s.door.View(), digest)
	if err != nil {
		return err
	}
	return x.bundleDetail(http.StatusOK, record)
}

// bundleFiles gives a kept bundle as an archive, the one in force also where the instance never stored it.
func (s *server) bundleFiles(x *exchange) error {
	digest := x.c.Param("digest")
	if err := x.authorise(readPolicy, "policy", digest); err != nil {
		return err
	}
	view := s.door.View()
	_, files, err := custodian.StoredPolicy(view, digest)
	if inForce := s.door.PoliciesOf(view); errors.Is(err, store.ErrNotFound) && inForce.Digest() == digest {
		files, err = inForce.Files(), inForce.Problem()
	}
	if err != nil {
		return err
	}
	archive, err := files.Deciding().Archive()
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, "application/gzip", archive)
}

func (s *server) startBacktest(x *exchange) error {
	digest := x.c.Param("digest")
	if err := x.onlyPeople(digest); err != nil {
		return err
	}
	if _, err := s.cfg.Bundles.Backtest(x.who, digest); err != nil {
		return err
	}
	return x.backtest(http.StatusAccepted, digest)
}

func (s *server) cancelBacktest(x *exchange) error {
	digest := x.c.Param("digest")
	if err := x.onlyPeople(digest); err != nil {
		return err
	}
	if err := s.cfg.Bundles.Cancel(digest); err != nil {
		return err
	}
	return x.backtest(http.StatusOK, digest)
}

func (s *server) getBacktest(x *exchange) error {
	digest := x.c.Param("digest")
	if err := x.authorise(readPolicy, "policy", digest); err != nil {
		return err
	}
	return x.backtest(http.StatusOK, digest)
}

func (x *exchange) backtest(status int, digest string) error {
	out := api.Backtest{}
	if p, known := x.s.cfg.Bundles.Progress(digest); known {
		progress := api.BacktestProgress(p)
		out.Progress = &progress
	}
	row, err := x.s.cfg.Bundles.Report(x.s.door.View(), digest)
	switch {
	case err == nil:
		out.Against, out.Summary, out.Report = row.Against, sumsOf(row.BacktestSummary), row.Report
	case !errors.Is(err, store.ErrNotFound) || out.Progress == nil:
		return err
	}
	return x.json(status, out)
}

// procedures is the bundle in force in words.
func (s *server) procedures(x *exchange) error {
	q, err := x.query("format")
	if err != nil {
		return err
	}
	format := q.Get("format")
	if format != "" && format != "markdown" && format != "html" && format != "json" {
		return &custodian.InputError{Field: "query.format", Problem: "unknown", Allowed: "markdown, html, json"}
	}
	if err := x.authorise(readPolicy, "policy", "procedures"); err != nil {
		return err
	}
	d, err := s.cfg.Bundles.Document(x.ctx(), s.door.View())
	if err != nil {
		return err
	}
	return x.document(d, format)
}

func (x *exchange) document(d *bundles.Document, format string) error {
	switch format {
	case "json":
		raw, err := json.Marshal(d)
		if err != nil {
			return err
		}
		return x.write(http.StatusOK, typeJSON, raw)
	case "html":
		return x.spooled("text/html; charset=utf-8", d.HTML)
	}
	return x.spooled("text/markdown; charset=utf-8", d.Markdown)
}
