package operation

// All returns every operation that this program knows.
func All() []Operation {
	return []Operation{
		keystoreActivate{}, keystoreDeactivate{}, keystoreRegister{},
		keyCreate{}, keyRotate{}, keyActivate{}, keySuspend{}, keyResume{}, keyCompromise{}, keyDeactivate{}, keyDestroy{},
		grantCreate{}, grantRevoke{},
		applicationEnrol{}, applicationSuspend{}, applicationResume{},
		tokenIssue{}, tokenRevoke{},
		acknowledgementSign{},
		shareProof{drill: false}, shareProof{drill: true},
		custodianSuspend{}, custodianResume{},
	}
}
