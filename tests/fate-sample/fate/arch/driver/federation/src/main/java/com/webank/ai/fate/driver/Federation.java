package com.webank.ai.fate.driver;

import com.webank.ai.eggroll.core.server.LineServer;
import java.io.IOException;

/** {@code -c conf/federation.properties}; its server comes from eggroll-core, out of the same Maven reactor. */
public final class Federation {
    private Federation() {}

    public static void main(String[] args) throws IOException {
        LineServer server = new LineServer("federation", args);
        server.log("proxy at " + server.get("proxy.ip", "") + ":" + server.get("proxy.port", ""));
        server.serve("service.port");
    }
}
