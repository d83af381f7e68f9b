package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
)

// fakeTransit answers like the transit engine of OpenBao, https://openbao.org/api-docs/secret/transit/, but for the
// encryption, of which there is none: what it is given comes back only with the same associated data.
func fakeTransit(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Vault-Token") != "s.token" {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"errors":["permission denied"]}`))
		return
	}
	var in struct {
		Plaintext  string `json:"plaintext"`
		Ciphertext string `json:"ciphertext"`
		Associated string `json:"associated_data"`
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	data := map[string]any{}
	switch r.Method + " " + r.URL.Path {
	case "GET /v1/transit/keys/lockfast":
		data = map[string]any{"derived": false, "supports_encryption": true, "type": "aes256-gcm96", "latest_version": 1}
	case "POST /v1/transit/encrypt/lockfast":
		data["ciphertext"] = "vault:v1:" + in.Associated + "." + in.Plaintext
	case "POST /v1/transit/decrypt/lockfast":
		plain, ok := strings.CutPrefix(in.Ciphertext, "vault:v1:"+in.Associated+".")
		if !ok {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"errors":["cipher: message authentication failed"]}`))
			return
		}
		data["plaintext"] = plain
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"errors":[]}`))
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
}
