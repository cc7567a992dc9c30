// Package floor is the limit that the product is measured against: a bare gin handler that makes a data
// key and wraps it with AES-256-GCM. No identity, no policy, no record. It protects nothing; it exists so
// that the price of custody can be given as a ratio taken in one run.
package floor

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"conclave/app/api"
)

// Handler answers POST /datakey and POST /datakeys/batch as the product's data-key calls do, minus custody.
func Handler() (http.Handler, error) {
	wrapping := make([]byte, 32)
	rand.Read(wrapping)
	block, err := aes.NewCipher(wrapping)
	if err != nil {
		return nil, fmt.Errorf("making the floor's cipher: %w", err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("making the floor's cipher: %w", err)
	}
	make1 := func(r api.DataKeyRequest) api.DataKeyResponse {
		key := make([]byte, r.Bytes)
		rand.Read(key)
		return api.DataKeyResponse{Key: "floor", Version: 1, Plaintext: key, Ciphertext: gcm.Seal(nil, nil, key, nil)}
	}
	gin.SetMode(gin.ReleaseMode)
	g := gin.New()
	g.POST("/datakey", func(c *gin.Context) {
		var r api.DataKeyRequest
		if err := c.ShouldBindJSON(&r); err != nil || r.Bytes < 16 || r.Bytes > 64 {
			c.Status(http.StatusBadRequest)
			return
		}
		c.JSON(http.StatusOK, make1(r))
	})
	g.POST("/decrypt", func(c *gin.Context) {
		var r api.DecryptRequest
		if err := c.ShouldBindJSON(&r); err != nil {
			c.Status(http.StatusBadRequest)
			return
		}
		plain, err := gcm.Open(nil, nil, r.Ciphertext, nil)
		if err != nil {
			c.Status(http.StatusBadRequest)
			return
		}
		c.JSON(http.StatusOK, api.DecryptResponse{Key: "floor", Version: 1, Plaintext: plain})
	})
	return g, nil
}
