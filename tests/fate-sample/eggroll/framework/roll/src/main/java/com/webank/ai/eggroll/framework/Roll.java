package com.webank.ai.eggroll.framework;

import com.webank.ai.eggroll.core.server.LineServer;
import com.webank.ai.eggroll.framework.storage.Stores;
import java.io.IOException;
import java.util.Arrays;

/** {@code -c conf/roll.properties}; needs eggroll-core and eggroll-storage-service-java in lib/. */
public final class Roll {
    private Roll() {}

    public static void main(String[] args) throws IOException {
        LineServer server = new LineServer("roll", args);
        server.log("stores " + Arrays.toString(Stores.values()));
        server.log("meta-service at " + server.get("meta.service.ip", "") + ":" + server.get("meta.service.port", ""));
        server.serve("service.port");
    }
}
