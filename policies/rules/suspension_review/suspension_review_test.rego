package conclave.rules.lifecycle.suspension_review_test

import data.conclave.lib.fixtures
import data.conclave.rules.lifecycle.suspension_review

test_default if {
	{r.code | some r in suspension_review.deny} == set() with input as fixtures.lifecycle
}

test_in_time if {
	{r.code | some r in suspension_review.deny} == set() with input as object.union(fixtures.lifecycle, {"review_days": 30})
}

test_late if {
	{r.code | some r in suspension_review.deny} == {"review_too_late"} with input as object.union(fixtures.lifecycle, {"review_days": 31})
}
