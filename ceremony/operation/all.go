package operation

// All returns every operation that this program knows, one a line in the order of the names.
func All() []Operation {
	return []Operation{
		acknowledgementSign{},
		applicationEnrol{},
		applicationResume{},
		applicationSuspend{},
		batch{},
		custodianResume{},
		custodianSuspend{},
		grantCreate{},
		grantRevoke{},
		keyActivate{},
		keyCompromise{},
		keyCreate{},
		keyDeactivate{},
		keyDestroy{},
		keyResume{},
		keyRotate{},
		keySuspend{},
		keystoreActivate{},
		keystoreDeactivate{},
		keystoreRegister{},
		shareProof{drill: false},
		shareProof{drill: true},
		tokenIssue{},
		tokenRevoke{},
	}
}
