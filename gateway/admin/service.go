package admin

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
func (a *API) serviceAction(_ context.Context, c *Call) error {
	action, dry := c.Query.Get("action"), c.Query.Get("dry-run") == "true"
	permission, known := serviceActions()[action]
	if !known {
		permission = "admin:ServiceFreeze"
	}
	if err := c.Allow(permission, object.Ref{}); err != nil {
		return err
	}
	if !known || a.Stop == nil {
		return errNotImplemented.with("A gateway can be restarted or stopped, and nothing else can be done to it.")
	}
	if !dry {
		a.Logger.Warn("this gateway ends, as was asked", "action", action, "request", c.ID, "user", c.Identity.AccessKey)
		a.Stop(action == "restart")
	}
	return c.answerJSON(map[string]any{"action": action, "dryRun": dry, "results": []map[string]string{{"host": a.Node}}})
}

// storageInfo serves storageinfo: what info tells of drives.
func (a *API) storageInfo(_ context.Context, c *Call) error {
	online, offline, drives := make(map[string]int), make(map[string]int), []map[string]any{}
	for _, g := range a.gateways(c) {
		for _, d := range g.drives() {
			drives = append(drives, d.document())
			if d.Online {
				online[g.Endpoint]++
			} else {
				offline[g.Endpoint]++
			}
		}
	}
	standard, reduced := a.Parities()
	return c.answerJSON(map[string]any{
		"Disks": drives, "Backend": map[string]any{"Type": "Erasure", "OnlineDisks": online, "OfflineDisks": offline, "StandardSCParity": standard, "RRSCParity": reduced},
	})
}

// notOffered answers a call of MinIO's that Shoal has no use for, and says what to do.
func notOffered(message string) handler {
	return func(*API, context.Context, *Call) error { return errNotImplemented.with(message) }
}

// Why calls are not offered.
const (
	locksEnd       = "No lock can be broken: those of a gateway that is gone end by themselves. \"shoal admin locks\" shows them."
	noSubnet       = "\"mc support\" asks for a registration with MinIO's SUBNET, and Shoal is registered with nobody. After \"mc admin config set ALIAS subnet api_key=none license=none\" it goes on without; \"shoal status\", \"shoal doctor\" and \"shoal bench\" need nothing."
	noUpdate       = "Each gateway is updated where it was installed: replace the program or the image, and start it again."
	noReplication  = "Shoal does not replicate to other sites or buckets: all gateways serve what they share. \"mc mirror --watch\" keeps a copy elsewhere."
	noTiers        = "Objects stay where they are: there are no tiers."
	noJobs         = "There are no batch jobs."
	noSpeedTest    = "\"shoal doctor --pair\" measures what gateways have between them, and \"mc support perf object\", \"drive\" and \"client\" the rest; \"shoal bench\" measures an endpoint, as its clients have it."
	noLiveMetrics  = "What is live is the network of a gateway's host, and where objects are spread over drives these, and what goes between nodes (\"mc support top net\", \"drive\", \"rpc\"). Metrics are for Prometheus, whose configuration \"mc admin prometheus generate\" shows."
	noDriveMetrics = "Nothing counts what is read and written: "
	noDiagnosis    = "\"shoal doctor\" looks at what is served, and \"mc admin logs\" and \"mc admin trace\" at the gateways."
)
