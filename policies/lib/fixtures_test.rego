package conclave.lib.fixtures

# Times are microseconds; the present of these tests is 2000000.
version := {
	"number": 3,
	"state": "active",
	"activation_at": 1000000,
	"oup_end": 3000000,
	"rup_end": 4000000,
	"suspected": false,
}

protect := {
	"now": 2000000,
	"mode": "production",
	"operation": "datakey",
	"payload_bytes": 32,
	"principal": {
		"kind": "application",
		"id": "billing",
		"status": "active",
		"environment": "production",
		"roles": [],
		"credential_expires_at": 3600000,
		"credential_revoked": false,
	},
	"key": {
		"id": "cards",
		"type": "symmetric-data-encryption",
		"classification": "cardholder-data",
		"impact": "moderate",
		"environment": "production",
	},
	"version": version,
	"keystore": {"id": "main", "environment": "production", "active": true},
	"grant": {
		"id": "g1",
		"operations": ["datakey", "encrypt", "decrypt", "rewrap"],
		"context": {"tenant": "north"},
		"expires_at": 3500000,
		"revoked": false,
	},
	"context": {"tenant": "north"},
}

process := object.union(protect, {"operation": "decrypt"})

rewrap := object.union(protect, {"operation": "rewrap", "onto": object.union(version, {"number": 4, "oup_end": 2900000})})

suspended := object.union(process, {
	"version": {"state": "suspended", "suspended_at": 1800000},
	"protected_at": 1700000,
	"accept_risk": true,
	"reason_code": "recovery",
})

emergency := object.union(process, {"principal": {"kind": "human", "id": "ada", "environment": "", "roles": ["custodian"]}, "grant": {"emergency": "c-1"}})

human := {
	"now": 2000000,
	"mode": "production",
	"operation": "ledger.read",
	"payload_bytes": 0,
	"principal": {
		"kind": "human",
		"id": "ada",
		"status": "active",
		"roles": ["security-officer"],
		"credential_revoked": false,
	},
	"context": {},
}

placement := {
	"now": 1700000000000000,
	"mode": "production",
	"existing": false,
	"key": {
		"id": "cards",
		"type": "symmetric-data-encryption",
		"classification": "cardholder-data",
		"impact": "moderate",
		"frameworks": ["pci-dss"],
		"jurisdiction": "EU",
		"environment": "production",
		"custody": ["self-hosted"],
		"algorithm": "aes-256",
		"strength_bits": 256,
	},
	"keystores": {"main": {
		"id": "main",
		"status": "registered",
		"fips_standard": "140-3",
		"fips_level": 1,
		"certificate": "5247",
		"certificate_status": "active",
		"custody": "self-hosted",
		"jurisdiction": "DE",
		"environment": "production",
		"key_strength": 256,
		"algorithms": ["aes-256"],
		"simulated": false,
		"tenancy": "single",
		"export": false,
		"max_keys": 0,
		"keys": 0,
	}},
	"exceptions": {},
}

exception(rule, changes) := {"exceptions": {"e1": object.union({"rule": rule, "expires_at": 1800000000000000}, changes)}}

store(changes) := {"keystores": {"main": changes}}

# Before and after the day on which FIPS 140-2 certificates became historical.
before_2026_09_22 := 1790000000000000

after_2026_09_22 := 1795000000000000

quorum := {
	"now": 2000000,
	"mode": "production",
	"operation": "key.destroy",
	"requester": {"kind": "human", "id": "ada", "roles": ["key-manager"]},
	"target": {
		"type": "key",
		"id": "cards",
		"owner": "bob",
		"classifications": ["cardholder-data"],
		"threshold": 3,
		"total": 5,
	},
}

lifecycle := {
	"now": 2000000,
	"mode": "production",
	"type": "symmetric-data-encryption",
	"classification": "confidential",
	"oup_days": 0,
	"rup_days": 0,
	"rotate_days": 0,
	"review_days": 0,
}
