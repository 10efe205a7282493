// A browser starts no worker for a page that is opened as a file, and the search runs in one. Here a hidden frame
// takes the worker's place. In pages from a server nothing changes.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.scope = frame.contentWindow
      this.scope.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      this.ready = new Promise((done, failed) => {
        const script = this.scope.document.createElement("script")
        Object.assign(script, { src: new URL(url, document.baseURI), onload: done, onerror: failed })
        this.scope.document.head.append(script)
      })
    }
    postMessage(data) {
      this.ready.then(() => this.scope.dispatchEvent(new MessageEvent("message", { data })))
    }
  }
}
