package httpapi

import (
	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/segment"
	"conclave/custodian/store"
)

func (s *server) listSegments(x *exchange) error {
	if err := x.authorise(readLedger, "ledger", ""); err != nil {
		return err
	}
	return page(x, custodian.KindSegment, func(_ *store.View, g *segment.Segment) (api.Segment, bool) {
		return api.Segment{ID: g.ID, From: g.From, To: g.To, FirstAt: g.FirstAt, LastAt: g.LastAt, Control: g.Control, Directory: g.Directory, File: g.File,
			Bytes: g.Bytes, SHA256: g.SHA256, Node: g.Node, ArchivedAt: g.ArchivedAt, ArchivedBy: g.ArchivedBy, Status: string(g.Status), DeletedAt: g.DeletedAt, DeletedBy: g.DeletedBy}, true
	})
}
