# METADATA
# title: Periods
# description: Cryptoperiods asked for, their defaults and their bounds, in days.
package conclave.lib.periods

# METADATA
# description: The row of the key type. Undefined when it is unknown.
type := data.tables.cryptoperiods.types[input.type]

# METADATA
# description: The row of the classification. Undefined when it is unknown.
class := data.tables.classifications[input.classification]

# METADATA
# description: The longest originator usage period, of type or class, whichever is shorter.
max_oup := min({type.max_oup_days, class.max_oup_days})

# METADATA
# description: The originator usage period.
oup := input.oup_days if input.oup_days > 0

oup := min({type.oup_days, max_oup}) if input.oup_days == 0

# METADATA
# description: The longest recipient usage period, from activation.
max_rup := oup + type.max_rup_after_oup_days

# METADATA
# description: The recipient usage period, from activation.
rup := input.rup_days if input.rup_days > 0

rup := max_rup if input.rup_days == 0

# METADATA
# description: Days after which a new version is made.
rotate := input.rotate_days if input.rotate_days > 0

rotate := max({1, oup - data.tables.cryptoperiods.rotate_before_days}) if input.rotate_days == 0

# METADATA
# description: Days until a suspension is reviewed.
review := input.review_days if input.review_days > 0

review := data.tables.cryptoperiods.suspension_review_days if input.review_days == 0
