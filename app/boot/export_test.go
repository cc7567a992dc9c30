package boot

import "conclave/app/httpapi"

// Reporter is what the API makes reports with.
func (r *Running) Reporter() httpapi.Reporter { return reporter{r.service} }
