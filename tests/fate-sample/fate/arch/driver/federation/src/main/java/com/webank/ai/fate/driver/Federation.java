package com.webank.ai.fate.driver;

import com.webank.ai.eggroll.core.server.LineServer;
import java.io.IOException;

/** {@code -c conf/federation.properties}; its server comes from eggroll-core, out of the same Maven reactor. */
public final class Federation {
    private Federation() {}

    public static void main(String[] args) throws IOException {
        LineServer server = new LineServer("federation", args);
        String host = server.get("proxy.ip", "");
        String port = server.get("proxy.port", "");
        server.log("proxy at " + host + ":" + port);
        // for "proxy" the proxy itself; a party's id is the proxy's to route
        server.serve("service.port", question -> LineServer.ask(host, port, question.equals("proxy") ? "" : question));
    }
}
