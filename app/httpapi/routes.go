package httpapi

import (
	"net/http"

	"conclave/custodian/access"
)

// reach is who gets to a route's handler at all.
type reach int

const (
	open     reach = iota // anybody
	optional              // anybody; credentials, where given, must be good
	known                 // whoever proves who they are
	invited               // whoever bears the secret of an invitation
)

// plane says by which bounds a route is served.
type plane int

const (
	probe   plane = iota // no body, no bounds
	data                 // a data-plane call
	batch                // a data-plane batch
	control              // everything else
	report               // may take long
	answer               // as control, with a body of a few keys
)

// route is one line of the API. The OpenAPI document lists exactly these.
type route struct {
	method, path string
	access       reach
	kind         plane
	handle       func(x *exchange) error
}

// routes is the whole API.
func (s *server) routes() []route {
	get := func(path string, h func(*exchange) error) route {
		return route{http.MethodGet, path, known, control, h}
	}
	post := func(path string, h func(*exchange) error) route {
		return route{http.MethodPost, path, known, control, h}
	}
	monitor := func(path string, h func(*exchange) error) route { return route{http.MethodGet, path, open, probe, h} }
	// Whoever comes without credentials is served these two kinds at a bounded rate.
	public := func(path string, h func(*exchange) error) route { return route{http.MethodGet, path, open, control, h} }
	either := func(path string, h func(*exchange) error) route {
		return route{http.MethodGet, path, optional, control, h}
	}
	all := []route{
		monitor("/healthz", s.healthz),
		monitor("/readyz", s.readyz),
		monitor("/metrics", s.scrape),
		public("/v1/openapi.json", s.openAPI),
		public("/v1/collector", s.collector),
		public("/v1/ledger/checkpoint", s.checkpoint),
		public("/v1/ledger/progress", s.progress),
		public("/v1/ledger/handovers", s.handovers),
		either("/v1/status", s.status),
		either("/v1/ledger/tile/*path", s.tile),
		either("/v1/ledger/proof/consistency", s.consistency),

		get("/v1/keys", s.listKeys),
		get("/v1/keys/:key", s.getKey),
		get("/v1/keys/:key/versions", s.listVersions),
		get("/v1/keys/:key/public", s.publicKeys),
		get("/v1/keys/:key/versions/:version/exposure", s.exposure),
		get("/v1/keystores", s.listKeystores),
		get("/v1/nodes", s.listNodes),
		public("/v1/nodes/signed", s.signedNodes),
		{http.MethodPost, "/v1/nodes/join", open, answer, s.joinNode},
		get("/v1/people", s.listPeople),
		get("/v1/people/:person", s.getPerson),
		get("/v1/invitations", s.listInvitations),
		get("/v1/duties", s.listDuties),
		get("/v1/alerts", s.listAlerts),
		{http.MethodGet, "/v1/invitation", invited, answer, s.invitation},
		{http.MethodPost, "/v1/invitation", invited, answer, s.answerInvitation},
		get("/v1/applications", s.listApplications),
		get("/v1/grants", s.listGrants),
		get("/v1/tokens", s.listTokens),
		get("/v1/holds", s.listHolds),
		get("/v1/retention", s.listRetention),
		get("/v1/reviews", s.listReviews),
		get("/v1/findings", s.listFindings),
		get("/v1/exceptions", s.listExceptions),
		get("/v1/attestations", s.listAttestations),
		get("/v1/controls", s.listControls),
		get("/v1/log-days", s.listLogDays),
		get("/v1/log-days/:day", s.getLogDay),
		get("/v1/ledger/segments", s.listSegments),
		get("/v1/breakglass", s.listBreakGlass),
		get("/v1/templates", s.listTemplates),
		get("/v1/assets", s.listAssets),
		get("/v1/campaigns", s.listCampaigns),
		get("/v1/wrappingkeys", s.listWrappingKeys),
		get("/v1/wrappingkeys/:id/public", s.wrappingKeyFile),
		get("/v1/shares", s.listShares),
		get("/v1/shares/mine", s.myShares),
		get("/v1/backup-schedules", s.listBackupSchedules),
		get("/v1/backups", s.listBackups),
		get("/v1/recoveries", s.listRecoveries),
		get("/v1/sharesets", s.listShareSets),
		get("/v1/custody/forms", s.listForms),
		get("/v1/custody/log", s.listCustody),
		get("/v1/drills", s.listDrills),
		get("/v1/drills/due", s.drillsDue),

		get("/v1/quorum", s.quorumHealth),
		post("/v1/quorum/simulate", s.simulateQuorum),

		post("/v1/ceremonies", s.propose),
		get("/v1/ceremonies", s.listCeremonies),
		get("/v1/ceremonies/:id", s.getCeremony),
		get("/v1/ceremonies/:id/statement", s.statement),
		post("/v1/ceremonies/:id/votes", s.vote),
		post("/v1/ceremonies/:id/shares", s.submitShare),
		post("/v1/ceremonies/:id/components", s.submitComponent),
		post("/v1/ceremonies/:id/cancel", s.cancel),
		post("/v1/ceremonies/:id/execute", s.execute),
		get("/v1/ceremonies/:id/transcript", s.transcript),
		post("/v1/ceremonies/:id/call", s.callPeople),
		post("/v1/ceremonies/:id/answer", s.answerCall),
		get("/v1/ceremonies/:id/calendar", s.calendar),
		get("/v1/ceremonies/:id/script", s.scriptRun),
		post("/v1/ceremonies/:id/script", s.beginScript),
		post("/v1/ceremonies/:id/script/acts", s.actInScript),

		get("/v1/policy", s.policy),
		get("/v1/policy/bundles", s.listBundles),
		post("/v1/policy/bundles", s.handIn),
		get("/v1/policy/bundles/:digest", s.getBundle),
		get("/v1/policy/bundles/:digest/files", s.bundleFiles),
		get("/v1/policy/bundles/:digest/backtest", s.getBacktest),
		post("/v1/policy/bundles/:digest/backtest", s.startBacktest),
		post("/v1/policy/bundles/:digest/backtest/cancel", s.cancelBacktest),
		get("/v1/policy/procedures", s.procedures),
		post("/v1/policy/place", s.place),
		post("/v1/policy/what-if", s.whatIf),
		post("/v1/policy/explain", s.explain),
		get("/v1/decisions/:id", s.decision),

		get("/v1/ledger/entries", s.entries),
		get("/v1/ledger/kept/*path", s.kept),
		get("/v1/ledger/search", s.searchLedger),
		get("/v1/ledger/proof/inclusion", s.inclusion),
		{http.MethodPost, "/v1/reports", known, report, s.report},
		{http.MethodPost, "/v1/reports/jobs", known, control, s.startReport},
		{http.MethodGet, "/v1/reports/jobs/:id", known, control, s.reportJob},
		{http.MethodGet, "/v1/reports/jobs/:id/content", known, report, s.reportContent},
		{http.MethodPost, "/v1/audit/populations", known, report, s.audit(AuditPopulations)},
		{http.MethodPost, "/v1/audit/members", known, report, s.audit(AuditMembers)},
		{http.MethodPost, "/v1/audit/sample", known, report, s.audit(AuditSample)},
		{http.MethodPost, "/v1/audit/dossier", known, report, s.audit(AuditDossier)},
		{http.MethodPost, "/v1/audit/open", known, report, s.audit(AuditOpen)},
		{http.MethodPost, "/v1/audit/readiness", known, report, s.audit(AuditReadiness)},
	}
	return append(all, s.dataRoutes()...)
}

// dataRoutes are the calls that use keys.
func (s *server) dataRoutes() []route {
	one := func(path string, h func(*exchange) error) route { return route{http.MethodPost, path, known, data, h} }
	many := func(path string, h func(*exchange) error) route { return route{http.MethodPost, path, known, batch, h} }
	return []route{
		one("/v1/keys/:key/datakeys", s.dataKey),
		one("/v1/keys/:key/encrypt", s.encrypt),
		one("/v1/keys/:key/decrypt", s.decrypt),
		one("/v1/keys/:key/rewrap", s.rewrap),
		one("/v1/decrypt", s.decrypt),
		one("/v1/keys/:key/datakeypairs", s.dataKeyPair),
		one("/v1/keys/:key/sign", oneOf(access.Sign, signUse, appendSigned)),
		one("/v1/keys/:key/verify", oneOf(access.VerifySignature, verifyUse, appendVerified)),
		one("/v1/keys/:key/mac", oneOf(access.MAC, macUse, appendMAC)),
		one("/v1/keys/:key/verify-mac", oneOf(access.VerifyMAC, verifyMACUse, appendVerified)),
		many("/v1/keys/:key/sign/batch", batchOf(s, access.Sign, signUse, appendSigned)),
		many("/v1/keys/:key/verify/batch", batchOf(s, access.VerifySignature, verifyUse, appendVerified)),
		many("/v1/keys/:key/mac/batch", batchOf(s, access.MAC, macUse, appendMAC)),
		many("/v1/keys/:key/verify-mac/batch", batchOf(s, access.VerifyMAC, verifyMACUse, appendVerified)),
		many("/v1/keys/:key/datakeys/batch", batchOf(s, access.DataKey, dataKeyUse, appendDataKey)),
		many("/v1/keys/:key/encrypt/batch", batchOf(s, access.Encrypt, encryptUse, appendSealed)),
		many("/v1/keys/:key/decrypt/batch", batchOf(s, access.Decrypt, decryptUse, appendOpened)),
		many("/v1/keys/:key/rewrap/batch", batchOf(s, access.Rewrap, rewrapUse, appendSealed)),
		many("/v1/decrypt/batch", batchOf(s, access.Decrypt, decryptUse, appendOpened)),
	}
}
