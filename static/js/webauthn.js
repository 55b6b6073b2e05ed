// Passkeys and security keys: the browser is asked to make or to use one, and what it answers is sent as a form.
// On the page: form[data-webauthn=create|get], and what to ask for in #webauthn-options, or else at the form's address.
"use strict";

(() => {
  const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

  // The options come as JSON, with base64url for what is bytes.
  const options = ({ publicKey }) => {
    const decoded = { ...publicKey, challenge: bytes(publicKey.challenge) };
    if (publicKey.user) decoded.user = { ...publicKey.user, id: bytes(publicKey.user.id) };
    for (const list of ["excludeCredentials", "allowCredentials"]) {
      if (publicKey[list]) decoded[list] = publicKey[list].map((credential) => ({ ...credential, id: bytes(credential.id) }));
    }
    return { publicKey: decoded };
  };

  const answer = (credential) => {
    const response = {};
    for (const part of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (credential.response[part]) response[part] = text(credential.response[part]);
    }
    if (credential.response.getTransports) response.transports = credential.response.getTransports();
    return {
      id: credential.id,
      rawId: text(credential.rawId),
      type: credential.type,
      authenticatorAttachment: credential.authenticatorAttachment,
      clientExtensionResults: credential.getClientExtensionResults(),
      response,
    };
  };

  const asked = async (form) => {
    const given = form.querySelector("#webauthn-options");
    if (given) return JSON.parse(given.textContent);
    const fetched = await fetch(form.action, { headers: { Accept: "application/json" } });
    if (!fetched.ok) throw new Error(fetched.statusText);
    return (await fetched.json()).request_options;
  };

  for (const form of document.querySelectorAll("form[data-webauthn]")) {
    const button = form.querySelector("[data-needs-script]");
    const failure = form.querySelector(".failure");
    form.querySelector("[data-without-script]").hidden = true;
    if (!window.PublicKeyCredential) {
      failure.textContent = form.dataset.unsupported;
      continue;
    }
    button.hidden = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      failure.textContent = "";
      button.setAttribute("aria-busy", "true");
      button.disabled = true;
      try {
        const credential = await navigator.credentials[form.dataset.webauthn](options(await asked(form)));
        form.elements.credential.value = JSON.stringify(answer(credential));
        form.submit();
      } catch (error) {
        failure.textContent = (error.name === "InvalidStateError" && form.dataset.known) || form.dataset.cancelled;
        button.removeAttribute("aria-busy");
        button.disabled = false;
        button.focus();
      }
    });
  }
})();
