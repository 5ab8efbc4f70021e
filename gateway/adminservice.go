package gateway

import (
	"context"

	"github.com/shoal-storage/shoal/internal/object"
)

// serviceActions are the actions of service that there are, and what allows each.
func serviceActions() map[string]string {
	return map[string]string{"restart": "admin:ServiceRestart", "stop": "admin:ServiceStop"}
}

// serviceAction serves service: this gateway ends as with SIGTERM, when what is under way
// is done, the answer to this too. The others go on.
func (s *Server) serviceAction(_ context.Context, r *request) error {
	action, dry := r.query.get("action"), r.query.get("dry-run") == "true"
	permission, known := serviceActions()[action]
	if !known {
		permission = "admin:ServiceFreeze"
	}
	if err := s.allow(r, permission, object.Ref{}); err != nil {
		return err
	}
	if !known || s.Stop == nil {
		return errNotImplemented.with("A gateway can be restarted or stopped, and nothing else can be done to it.")
	}
	if !dry {
		s.Logger.Warn("this gateway ends, as was asked", "action", action, "request", r.id, "user", r.identity.AccessKey)
		s.Stop(action == "restart")
	}
	return r.answerJSON(map[string]any{"action": action, "dryRun": dry, "results": []map[string]string{{"host": s.Node}}})
}

// healStatus serves background-heal/status: which drives do not have all yet that is to be
// on them. What is done about that needs nobody.
func (s *Server) healStatus(_ context.Context, r *request) error {
	healing, offline := []string{}, []string{}
	for _, g := range s.gateways(r) {
		if !g.Online {
			offline = append(offline, g.Endpoint)
		}
		for _, d := range g.Drives {
			if d.Healing {
				healing = append(healing, d.Path)
			}
		}
	}
	return r.answerJSON(map[string]any{
		"offline_nodes": offline, "ScannedItemsCount": 0, "HealDisks": healing, "sets": []any{}, "mrf": map[string]any{}, "sc_parity": map[string]int{"STANDARD": s.Parity},
	})
}

// storageInfo serves storageinfo: what info tells of drives.
func (s *Server) storageInfo(_ context.Context, r *request) error {
	online, offline, drives := make(map[string]int), make(map[string]int), []map[string]any{}
	for _, g := range s.gateways(r) {
		for i, d := range g.drives() {
			drives = append(drives, d.document(i))
			if d.Online {
				online[g.Endpoint]++
			} else {
				offline[g.Endpoint]++
			}
		}
	}
	return r.answerJSON(map[string]any{
		"Disks": drives, "Backend": map[string]any{"Type": "Erasure", "OnlineDisks": online, "OfflineDisks": offline, "StandardSCParity": s.Parity, "RRSCParity": s.Parity},
	})
}

// notOffered answers a call of MinIO's that Shoal has no use for, and says what to do.
func notOffered(message string) handler {
	return func(*Server, context.Context, *request) error { return errNotImplemented.with(message) }
}

// Why calls are not offered.
const (
	healsItself = "Nothing can be healed by hand, and of a directory nothing has to be: its objects are files that are whole or not there."
	locksEnd    = "No lock can be broken: those of a gateway that is gone end by themselves. \"shoal admin locks\" shows them."
	noSubnet    = "Shoal is registered with nobody, so \"mc support\" has no use here. \"shoal status\", \"shoal doctor\" and \"mc admin\" tell what there is to know."
	noHistory   = "Settings are flags and variables of each gateway: there is no history of them."
	noSettings  = "Settings are flags and variables of each gateway, and none can be changed while it runs."
)
