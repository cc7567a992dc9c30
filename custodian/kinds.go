package custodian

import (
	"conclave/custodian/access"
	"conclave/custodian/backup"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/custodian/segment"
	"conclave/custodian/store"
)

// Kinds of authority rows. A row's id is named behind each.
const (
	KindInstance    store.Kind = "instance"     // "instance": what genesis fixed
	KindPerson      store.Kind = "person"       // person id
	KindShareSet    store.Kind = "share_set"    // set id
	KindShare       store.Kind = "share"        // people.ShareID(set, epoch, index)
	KindKeystore    store.Kind = "keystore"     // keystore id
	KindKey         store.Kind = "key"          // key id
	KindKeyVersion  store.Kind = "key_version"  // key.VersionID(key, version)
	KindApplication store.Kind = "application"  // application id
	KindToken       store.Kind = "token"        // token id
	KindGrant       store.Kind = "grant"        // grant id
	KindNode        store.Kind = "node"         // node id
	KindHandOver    store.Kind = "hand_over"    // HandOverID(node, keystore)
	KindLogKey      store.Kind = "log_key"      // LogKeyRow
	KindHold        store.Kind = "hold"         // hold id
	KindRetention   store.Kind = "retention"    // class of records
	KindReview      store.Kind = "review"       // id of the ceremony reviewed
	KindFinding     store.Kind = "finding"      // finding id
	KindException   store.Kind = "exception"    // exception id
	KindBreakGlass  store.Kind = "breakglass"   // id of the emergency access
	KindAttestation store.Kind = "attestation"  // attestation id
	KindMonitored   store.Kind = "monitored"    // framework, as the daily run found it
	KindWatched     store.Kind = "watched"      // what the rules found
	KindLogDay      store.Kind = "log_day"      // day, as 2026-03-02
	KindSearchIndex store.Kind = "search_index" // that it is to be made anew
	KindSegment     store.Kind = "segment"      // segment.ID: entries that were moved out of the database
	KindClock       store.Kind = "clock"        // oversight.ClockRow
	KindInvitation  store.Kind = "invitation"   // invitation id
	KindActivity    store.Kind = "activity"     // person id
	KindDuty        store.Kind = "duty"         // duty id
	KindTemplate    store.Kind = "template"     // template id
	KindAsset       store.Kind = "asset"        // asset id
	KindCampaign    store.Kind = "campaign"     // campaign id
	KindWrappingKey store.Kind = "wrapping_key" // id of a one-time pair for importing
	KindDrift       store.Kind = "drift"        // key id, or key.KeystoreDriftID

	KindControlledUse store.Kind = "controlled_use" // id of the approval
	KindShareForm     store.Kind = "share_form"     // id of a physical form of a share
	KindCustody       store.Kind = "custody"        // id of an entry of the custody log
	KindBagSerial     store.Kind = "bag_serial"     // serial, kept for ever
	KindDrillPlan     store.Kind = "drill_plan"     // share set id
	KindDrill         store.Kind = "drill"          // id of the record of a drill

	KindPolicy       store.Kind = "policy"          // PolicyRow: which bundle is in force
	KindPolicyBundle store.Kind = "policy_bundle"   // digest of the bundle
	KindPolicyFiles  store.Kind = "policy_files"    // "digest/part"
	KindBacktest     store.Kind = "policy_backtest" // digest of the bundle that was tried

	KindBackupSchedule store.Kind = "backup_schedule" // schedule id
	KindBackup         store.Kind = "backup"          // backup id
	KindRecovery       store.Kind = "recovery"        // id of the restore session
)

// InstanceRow is the id of the one row of KindInstance.
const InstanceRow = "instance"

// Mode of an instance, chosen at genesis only.
type Mode string

const (
	Production  Mode = "production"
	Development Mode = "development" // lowers the floor; marks every entry, page, report and ciphertext
)

// Instance is what genesis fixed for ever. Row kind KindInstance, id "instance".
type Instance struct {
	ID           string `json:"id"` // hex SHA-256 of the genesis file
	Name         string `json:"name"`
	Mode         Mode   `json:"mode"`
	PolicyDigest string `json:"policy_digest"` // bundle that genesis put in force; see PolicyInForce
	Genesis      []byte `json:"genesis"`       // the file's exact bytes
	// GenesisSignatures are the envelopes by which everybody named in the file signed it, as they were handed in; entry 0
	// has the SHA-256 of each. None in instances made before they were kept.
	GenesisSignatures [][]byte `json:"genesis_signatures,omitempty"`
}

// Schema is how the store decodes the rows of this package, and which of them decide authorisation.
func Schema() store.Schema {
	return store.Schema{
		KindInstance:    store.JSON[Instance](true),
		KindPerson:      store.JSON[people.Person](true),
		KindShareSet:    store.JSON[people.ShareSet](false),
		KindShare:       store.JSON[people.Share](false),
		KindKeystore:    store.JSON[key.Keystore](true),
		KindKey:         store.JSON[key.Key](true),
		KindKeyVersion:  store.JSON[key.Version](true),
		KindApplication: store.JSON[access.Application](true),
		KindToken:       store.JSON[access.Token](true),
		KindGrant:       store.JSON[access.Grant](true),
		KindNode:        store.JSON[Node](true),
		KindHandOver:    store.JSON[HandOver](false),
		KindLogKey:      store.JSON[LogKey](false),
		KindHold:        store.JSON[oversight.Hold](false),
		KindRetention:   store.JSON[oversight.Retention](false),
		KindReview:      store.JSON[oversight.Review](false),
		KindFinding:     store.JSON[oversight.Finding](false),
		KindException:   store.JSON[oversight.Exception](false),
		KindAttestation: store.JSON[oversight.Attestation](false),
		KindMonitored:   store.JSON[oversight.Monitored](false),
		KindWatched:     store.JSON[oversight.Watched](false),
		KindBreakGlass:  store.JSON[oversight.BreakGlass](true),
		// A day that is reviewed is over: it is kept on the store's shelf.
		KindLogDay:      store.WithArchive(store.JSON[oversight.LogDay](false), oversight.ReviewedDay),
		KindSearchIndex: store.JSON[oversight.SearchIndex](false),
		KindSegment:     store.JSON[segment.Segment](false),
		KindClock:       store.JSON[oversight.ClockConfirmation](false),
		KindInvitation:  store.JSON[people.Invitation](false),
		KindActivity:    store.JSON[people.Activity](false),
		KindDuty:        store.JSON[people.Duty](false),
		KindTemplate:    store.JSON[key.Template](false),
		KindAsset:       store.JSON[key.Asset](false),
		KindCampaign:    store.JSON[key.Campaign](false),
		KindWrappingKey: store.JSON[key.WrappingKey](false),
		// It decides: policy can let a key that is out of place protect no more.
		KindDrift: store.JSON[key.Drift](true),
		// It decides: an application processes under it what the state forbids.
		KindControlledUse: store.JSON[key.ControlledApproval](true),
		KindShareForm:     store.JSON[people.ShareForm](false),
		KindCustody:       store.JSON[people.CustodyEntry](false),
		KindBagSerial:     store.JSON[people.BagSerial](false),
		KindDrillPlan:     store.JSON[people.DrillPlan](false),
		KindDrill:         store.JSON[people.Drill](false),
		// What is in force decides; a bundle that is stored and not in force does not.
		KindPolicy:       store.JSON[PolicyInForce](true),
		KindPolicyBundle: store.JSON[PolicyBundle](false),
		KindPolicyFiles:  store.JSON[PolicyFiles](false),

		KindBackupSchedule: store.JSON[backup.Schedule](false),
		KindBackup:         store.JSON[backup.Copy](false),
		KindRecovery:       store.JSON[backup.Recovery](false),
		KindBacktest:       store.JSON[PolicyBacktest](false),
	}
}
