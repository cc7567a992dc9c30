package httpapi

import (
	"net/http"

	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/store"
)

func (s *server) listNodes(x *exchange) error {
	if err := x.authorise(readKeystores, "node", ""); err != nil {
		return err
	}
	return page(x, custodian.KindNode, func(_ *store.View, n *custodian.Node) (api.Node, bool) {
		out := api.Node{ID: n.ID, Here: n.ID == s.door.Node(), EnrolledAt: n.EnrolledAt, EnrolledBy: n.EnrolledBy, HandOver: n.HandOver,
			RevokedAt: n.RevokedAt, RevokedBy: n.RevokedBy, RevokedReason: n.RevokedReason}
		if n.EnrolledAt == nil {
			out.EnrolledBy = "genesis"
		}
		if k, err := n.Key(); err == nil {
			out.Key, out.Fingerprint = k.Thumbprint(), k.Fingerprint()
		}
		return out, true
	})
}

// signedNodes is for everybody: whoever is to verify what nodes sign needs their keys, and they are no secret.
func (s *server) signedNodes(x *exchange) error {
	envelope, err := s.engine.Nodes()
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, api.NodeDocument{Envelope: envelope})
}

// joinNode gives an enrolled node the keys of the instance. Its signature over the call is its credential.
func (s *server) joinNode(x *exchange) error {
	var in api.NodeDocument
	if err := x.decode(&in); err != nil {
		return err
	}
	node, to, err := s.cfg.Auth.Joining(x.c.Request, in.Envelope)
	if err != nil {
		return err
	}
	node.RequestID = x.id
	envelope, err := s.engine.Welcome(x.ctx(), node, to)
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, api.NodeDocument{Envelope: envelope})
}
