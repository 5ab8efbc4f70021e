package main

import (
	"fmt"

	"github.com/shoal-storage/shoal/erasure/format"
	"github.com/shoal-storage/shoal/internal/doctor"
)

// driveFindings returns what there is to say of a directory that is a drive of a set, nil if it is none.
func driveFindings(path string) []doctor.Finding {
	const check = "identity"
	seen, err := format.Inspect(path)
	switch {
	case err != nil:
		return []doctor.Finding{{
			Check: check, Severity: doctor.Bad, Found: err.Error(), Effect: "It is not used as a drive, and its set is without it.",
			Cure: "Where a later version has opened it, use that one. Where it is damaged, empty it: it is given all that it had.",
		}}
	case seen.Identity == nil:
		return nil
	}
	id := seen.Identity
	all := []doctor.Finding{{
		Check: check, Severity: doctor.OK,
		Found:  fmt.Sprintf("drive %d of the %d of set %d, of deployment %s, started %d times", id.Slot()+1, len(id.Set), id.Number+1, id.Deployment, id.Start),
		Effect: "It is looked at as a drive, and not as a share. shoal heal status shows what it lacks, shoal admin info how all drives stand.",
	}}
	if id.Blank {
		all = append(all, doctor.Finding{
			Check: check, Severity: doctor.Warn, Found: "it stands for a drive that was lost, and does not have all yet that that one had",
			Effect: "Fewer drives may be lost than the parity says.", Cure: "None is needed: shoal heal status shows how far it is.",
		})
	}
	switch {
	case id.Mounted && !seen.Mounted:
		all = append(all, doctor.Finding{
			Check: "place", Severity: doctor.Bad, Found: "it was the root of a file system when it was formed, and is none here",
			Effect: "It may be a copy. One that is older than the drive is not used.", Cure: "Mount the drive itself.",
		})
	case seen.OnRoot && !id.OnRoot:
		all = append(all, doctor.Finding{
			Check: "place", Severity: doctor.Bad, Found: "it is on the device of the root directory, and was on another one when it was formed",
			Effect: "It may be a copy. One that is older than the drive is not used.", Cure: "Mount the drive itself.",
		})
	case seen.OnRoot:
		all = append(all, doctor.Finding{
			Check: "place", Severity: doctor.Info, Found: "it is on the device of the root directory, as it was when it was formed",
			Effect: "What fills that fills the drive, and drives that share a device are lost together.", Cure: "Put it on a disk of its own.",
		})
	}
	return all
}
