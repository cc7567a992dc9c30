package conclave.rules.place.framework_test

import data.conclave.lib.fixtures
import data.conclave.rules.place.framework

test_known if {
	{r.reason.code | some r in framework.deny} == set() with input as fixtures.placement
}

test_none if {
	{r.reason.code | some r in framework.deny} == set() with input as object.union(fixtures.placement, {"key": {"frameworks": []}})
}

test_unknown if {
	{r.reason.code | some r in framework.deny} == {"framework_unknown"} with input as object.union(fixtures.placement, {"key": {"frameworks": ["pci-dss", "acme"]}})
}
